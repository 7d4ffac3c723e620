# bad-text.sh - texts that cannot be trained on or evaluated, and places that cannot be written: status 1 and one line that
# names the file; no model is left behind.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
awk 'BEGIN { for (i = 0; i < 200; i++) print "line " i " of a small text" }' > book.txt

# bad TEXT NAME FILE: training on the file fails and leaves nothing
bad()
{
    fails 1 "$1" "$2" "$BPTT" train "$3" --hidden 8 --batch 2 --length 16 --steps 2 --out m.safetensors
    check "and leaves no model" [ ! -e m.safetensors ]
}

bad missing.txt "a missing file" missing.txt
: > empty.txt
bad empty.txt "an empty file" empty.txt
printf x > one.txt
bad one.txt "one character" one.txt
mkdir folder.txt
bad folder.txt "a directory" folder.txt
printf 'abc\377\376def%0200d' 0 > latin.txt
bad latin.txt "text that is not UTF-8" latin.txt
err_has "--symbols bytes" "the message says what to do"
head -c 3000 "$BPTT" > binary.txt
bad binary.txt "a binary file" binary.txt
printf 'short text\n' > short.txt
bad short.txt "shorter than one window" short.txt
if [ "$(id -u)" = 0 ]; then
    skip "an unreadable file" "the super-user can read everything"
    skip "a read-only folder" "the super-user can write everywhere"
else
    cp book.txt secret.txt && chmod 000 secret.txt
    bad secret.txt "an unreadable file" secret.txt
    mkdir locked && chmod 500 locked
    fails 1 locked/m.safetensors "a read-only folder" "$BPTT" train book.txt --hidden 8 --steps 2 --out locked/m.safetensors
fi
fails 1 nowhere/m.safetensors "a folder that is not there" "$BPTT" train book.txt --hidden 8 --steps 2 --quiet \
    --out nowhere/m.safetensors
run sh -c 'trap "" XFSZ; ulimit -f 4; "$1" train book.txt --hidden 64 --batch 2 --length 16 --steps 2 --quiet --out big.safetensors' \
    - "$BPTT"
is_status 1 "no room for the model's file"
one_line "is said in one line"
err_has big.safetensors "with its name"
check "and half a file is not left" [ ! -e big.safetensors ]

run "$BPTT" train book.txt --hidden 8 --batch 2 --length 16 --steps 2 --out m.safetensors
is_status 0 "a good text"
printf 'line 5 of a \302\247 text, line 6\n' > strange.txt
fails 1 strange.txt "eval: a symbol that training never saw" "$BPTT" eval m.safetensors strange.txt
fails 1 "prompt" "sample: a prompt with a symbol that training never saw" "$BPTT" sample m.safetensors --prompt '§'
fails 1 empty.txt "eval: an empty file" "$BPTT" eval m.safetensors empty.txt
fails 1 missing.txt "eval: a missing file" "$BPTT" eval m.safetensors missing.txt

# Two runs that write the same file: the second one is turned away, the first is not disturbed.
"$BPTT" train book.txt --hidden 8 --batch 2 --length 16 --steps 100k --out shared.safetensors > first.out 2>&1 &
first=$!
for _ in $(seq 200); do
    grep -q 'step' first.out && break
    sleep 0.05
done
fails 1 shared.safetensors "a second run that writes the same file" \
    "$BPTT" train book.txt --hidden 8 --batch 2 --length 16 --steps 2 --quiet --out shared.safetensors
check "the first run is still running" kill -0 "$first"
kill -INT "$first"
wait "$first"
finish
