# threads.sh - what runs on several threads, small enough for the thread sanitizer.
# threads
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
awk 'BEGIN { for (i = 0; i < 200; i++) print "line " i " of a small text" }' > book.txt

run "$BPTT" train book.txt --hidden 24 --layers 2 --batch 6 --length 12 --steps 6 --valid 0.2 --valid-every 3 \
    --dropout 0.1 --threads 3 --out m.safetensors
is_status 0 "training on three threads"
run "$BPTT" eval m.safetensors book.txt --batch 4 --threads 2
is_status 0 "evaluation on two"
finish
