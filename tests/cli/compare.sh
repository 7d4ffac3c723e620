# compare.sh - bptt compare: tables, training, the figure in the terminal and as SVG, JSON, strategies left out, bad input.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
awk 'BEGIN { for (i = 0; i < 200; i++) print "line " i " of a small <text>, as plain & short as " i % 7 " can be." }' > book.txt
"$BPTT" train book.txt --cell gru --hidden 12 --layers 2 --batch 4 --length 16 --steps 40 --seed 3 --valid 0 \
    --threads 1 --quiet --out model.safetensors > /dev/null 2>&1
check "a model to compare on" [ -s model.safetensors ]
cp model.safetensors before.safetensors
small() { "$BPTT" compare model.safetensors book.txt --threads 1 --batch 2 --windows 2 --repeats 4 "$@"; }

# Tables
run small --length 30 --strategies "full;segments:5;truncated:5,10;random:0.9;uoro"
is_status 0 "bptt compare ends well"
check "nothing on standard error" [ ! -s err ]
out_has "strategy                bias      +- variance   cosine s/window  ratio     bytes" "a heading"
for strategy in full segments:5 truncated:5,10 random:0.9 uoro; do
    check "a row for $strategy" grep -q "^$strategy  *[0-9]" out
done
check "full has no bias and the cosine 1" grep -q '^full  *0  *0  *1\.00000 ' out
check "random links have a standard error" sh -c 'grep "^random:0.9 " out | head -n 1 | awk "{ exit !(NF == 9 && \$3 > 0 && \$4 > 0) }"'
check "a table by layer" grep -q '^strategy  *layer ' out
out_has "layers.1" "of each layer"
out_has "2 windows, 30 steps, 2 rows, double precision" "and what was compared"
check "no line is wider than 80 columns" sh -c '! grep -q ".\{81\}" out'
check "no training unless asked for" sh -c '! grep -q "loss after" out'

run small --length 30 --strategies "full;bf16"
is_status 0 "bfloat16 beside full"
check "has a small bias" sh -c 'grep "^bf16 " out | head -n 1 | awk "{ exit !(\$2 > 0 && \$2 < 0.05 && \$4 > 0.999) }"'
check "and takes fewer bytes" sh -c 'awk "/^full /{f = \$NF + 0} /^bf16 /{b = \$NF + 0} END {exit !(b > 0 && f > 0)}" out'

run small --length 30 --strategies "full;segments:5" --by-parameter
out_has "layers.1.W_r" "--by-parameter: a row for each parameter"
check "in place of the layers" sh -c '! grep -q "^strategy  *layer " out'
run small --length 30 --strategies "full;segments:5" --quiet
check "--quiet: the first table alone" [ "$(wc -l < out)" = 3 ]

run small --length 30 --strategies "full;random:0.5,0.6,0.7,0.8,0.9"
check "a long name has a line of its own" sh -c 'grep -A 1 "^random:0.5,0.6,0.7,0.8,0.9\$" out | grep -q "^ \{19\}  *[0-9]"'

# The figure
run small --length 20 --strategies "full;segments:7;truncated:5,10;random:0.5;snap1" --svg pieces.svg
is_status 0 "--svg"
check "the whole text for full" grep -q '^  line 0 of a small <t$' out
check "cut by segments" grep -q '^  line 0 |of a sm|all <t$' out
out_has "truncated:5,10: 4 pieces, each reaching back 10 steps from its end" "and how far truncations reach"
out_has "links within them weighted by 2" "and what links weigh"
check "forward mode cuts nothing" sh -c '! grep -q "^snap1: " out'
check "the picture is there" grep -q '</svg>' pieces.svg
check "with special characters escaped" grep -q '>&lt;</tspan>' pieces.svg
check "for dark pages too" grep -q 'prefers-color-scheme: dark' pieces.svg
if command -v python3 > /dev/null; then
    check "and well formed" python3 -c 'import xml.dom.minidom as m; m.parse("pieces.svg")'
fi
run small --length 20 --strategies full --svg /nonexistent/pieces.svg
is_status 1 "a picture that cannot be written is a failure"
err_has "/nonexistent/pieces.svg: cannot write the picture" "and says so"

# Training
run small --length 20 --strategies "full;segments:5;rtrl" --train 12 --lr 0.01
is_status 0 "--train"
out_has "loss after window             2     3     4     6     7     8    10    11    12" "loss by windows"
out_has "loss after seconds" "and by seconds"
check "the model on disk is left alone" cmp model.safetensors before.safetensors
check "no line is wider than 80 columns" sh -c '! grep -q ".\{81\}" out'

# JSON
run small --length 20 --strategies "full;random:0.8;rflo;adaptive:0.5" --train 3 --json
is_status 0 "--json"
check "--json: one object on one line" sh -c '[ "$(wc -l < out)" = 1 ] && grep -q "^{.*}\$" out'
for key in length batch windows repeats precision train text strategies name skipped gradient layers parameters norm bias noise \
    variance cosine seconds ratio pieces links bytes loss second failure truncation; do
    out_has "\"$key\": " "--json: $key"
done
if command -v python3 > /dev/null; then
    check "--json: parts, pieces and points of training" python3 -c '
import json
r = json.load(open("out"))
s = r["strategies"]
assert [x["name"] for x in s] == ["full", "random:0.8", "rflo", "adaptive:0.5"]
assert s[0]["gradient"]["bias"] == 0 and len(s[0]["layers"]) == 4 and len(s[0]["loss"]) == len(s[3]["second"]) == 3
assert s[0]["pieces"] == [{"from": 0, "losses": 0, "to": 20}] and len(s[1]["links"]) == 20 and s[2]["pieces"] == []
assert r["text"] == "line 0 of a small <t" and s[3]["truncation"] >= 1'
fi

# Chosen for the user
run small
is_status 0 "strategies of its own choice"
for strategy in full segments:8 segments:32 truncated:8,32 random:0.938 rtrl snap1 rflo uoro; do
    check "$strategy is among them" grep -q "^$strategy  *[0-9]" out
done
run small --memory 100K --strategies "segments:1;full;rtrl"
is_status 0 "--memory"
check "what needs more is left out" grep -q '^rtrl  *left out: it needs .* more than the 0.1 MiB allowed$' out

# Bad input
fails 2 "--length" "--length 0 is wrong usage" small --length 0
fails 2 "--repeats" "--repeats 1 is wrong usage" small --repeats 1
fails 2 "--precision" "an unknown precision" small --precision f16
fails 2 "" "no text is wrong usage" "$BPTT" compare model.safetensors
fails 1 "with semicolons between" "an empty strategy" small --strategies "full;;uoro"
fails 1 "there is no gradient 'half'" "an unknown strategy" small --strategies "full;half"
fails 1 "segments:21" "segments longer than the window" small --length 20 --strategies "segments:21"
fails 1 "nothere" "a model that is not there" "$BPTT" compare nothere.safetensors book.txt
fails 1 "nothere.txt" "a text that is not there" "$BPTT" compare model.safetensors nothere.txt
: > empty.txt
fails 1 "is empty" "an empty text" "$BPTT" compare model.safetensors empty.txt
printf 'line' > short.txt
fails 1 "at most --length 1" "a text shorter than the windows" "$BPTT" compare model.safetensors short.txt --length 2
"$BPTT" init --cell gru --inputs 2 --outputs 1 --hidden 4 --out numbers.safetensors > /dev/null
fails 1 "not a model of text" "a model without symbols" "$BPTT" compare numbers.safetensors book.txt

# On a terminal
if ! command -v script > /dev/null || ! script -qec true /dev/null > /dev/null 2>&1 < /dev/null; then
    skip "progress" "no script(1) to make a terminal with"
else
    TERM=xterm script -qec "'$BPTT' compare model.safetensors book.txt --length 16 --windows 1 --strategies 'full;segments:4'" \
        /dev/null > screen 2>&1 < /dev/null
    check "a terminal sees what is being done" grep -q "%  segments:4" screen
fi
finish
