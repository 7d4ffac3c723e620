# inspect.sh - bptt inspect: the tables, narrow and wide terminals, JSON, the picture, arrays, and bad input.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
awk 'BEGIN { for (i = 0; i < 200; i++) print "line " i " of a small text, as plain as " i % 7 " can be." }' > book.txt
"$BPTT" train book.txt --cell lstm --hidden 12 --layers 2 --batch 4 --length 16 --steps 40 --seed 3 --valid 0 \
    --threads 1 --quiet --out model.safetensors > /dev/null 2>&1
check "a model to look at" [ -s model.safetensors ]
few="--lags 30 --windows 2 --steps 400 --jacobians 8"

# shellcheck disable=SC2086
run "$BPTT" inspect model.safetensors book.txt $few
is_status 0 "bptt inspect ends well"
check "a verdict for each layer" [ "$(grep -c '^layers\.[01]: [a-z]*\. ' out)" = 2 ]
for name in layers.0.h layers.1.c largest smallest radius "Lyapunov exponents:" "32 steps" "1.f" "0.tanh(c')" head.bias; do
    out_has "$name" "it tells of $name"
done
check "no colour and no blocks of a terminal in a file" sh -c '! grep -q "$(printf "\033")" out'
# shellcheck disable=SC2086
run "$BPTT" inspect model.safetensors book.txt $few --threads 2
mv out first
# shellcheck disable=SC2086
run "$BPTT" inspect model.safetensors book.txt $few --threads 1
check "the same from one thread as from two" cmp out first

# shellcheck disable=SC2086
run "$BPTT" inspect model.safetensors book.txt $few --json
is_status 0 "--json"
check "--json: one object on one line" sh -c '[ "$(wc -l < out)" = 1 ] && grep -q "^{.*}\$" out'
for key in lags samples precision gradient_by_lag walked stretches layers values parameters verdict exponents largest radius products; do
    out_has "\"$key\": " "--json: $key"
done
if command -v python3 > /dev/null; then
    check "--json: curves for all, each layer and each state; units add up" python3 -c '
import json
r = json.load(open("out"))
names = [c["name"] for c in r["gradient_by_lag"]]
assert names == ["", "layers.0", "layers.1", "layers.0.h", "layers.0.c", "layers.1.h", "layers.1.c"], names
assert all(len(c["mean"]) == 30 for c in r["gradient_by_lag"])
whole, one, two = (c["mean"][0] for c in r["gradient_by_lag"][:3])
assert max(one, two) <= whole <= one + two, (whole, one, two)
assert [l["states"] for l in r["layers"]] == [24, 24] and r["walked"] == 400, r["walked"]
assert {v["name"]: v["units"] for v in r["values"]} == {k: 12 for k in ("i", "f", "g", "o", "tanh(c\u0027)")}
assert [v["name"] for v in r["values"] if v["memory"] is not None] == ["f", "f"]'
fi

# shellcheck disable=SC2086
run "$BPTT" inspect model.safetensors book.txt $few --svg picture.svg
is_status 0 "--svg"
check "a picture with a curve for each state and a bar for each gate" sh -c \
    '[ "$(grep -c "<title>layers.[01].[hc]</title>" picture.svg)" = 4 ] && [ "$(grep -c "class=.empty." picture.svg)" = 10 ]'
command -v xmllint > /dev/null && check "which is well-formed" xmllint --noout picture.svg
# shellcheck disable=SC2086
run "$BPTT" inspect model.safetensors book.txt $few --svg nowhere/picture.svg
is_status 1 "a picture that cannot be written"
err_has "nowhere/picture.svg: cannot write the picture" "is told"
# shellcheck disable=SC2086
"$BPTT" inspect model.safetensors book.txt $few --json > out

# The same windows by another program (single precision)
if command -v python3 > /dev/null; then
    "$BPTT" horizon model.safetensors book.txt --lags 30 --windows 2 --batch 16 --json > horizon
    check "layers and the whole are what bptt horizon measures" python3 -c '
import json
r, h = json.load(open("out")), json.load(open("horizon"))
for mine, theirs in zip(r["gradient_by_lag"], [h["norm"], *h["layers"]]):
    assert all(abs(a - b) <= 1e-4 * b for a, b in zip(mine["mean"], theirs)), (mine["name"], mine["mean"], theirs)'
fi

if ! command -v script > /dev/null || ! script -qec true /dev/null > /dev/null 2>&1 < /dev/null; then
    skip "terminals" "no script(1) to make a terminal with"
else
    for columns in 20 80 200; do
        NO_COLOR= TERM=xterm LC_ALL=C script -qec \
            "stty cols $columns; '$BPTT' inspect model.safetensors book.txt $few 2> /dev/null" /dev/null > screen 2>&1 < /dev/null
        sed "s/$(printf '\033')\[[0-9]*m//g; s/$(printf '\r')//" screen > plain
        check "no line is longer than a terminal of $columns columns" awk -v n="$columns" 'length > n { exit 1 }' plain
        check "$columns columns: what stands at the end is there" grep -q head.bias plain
    done
    check "a terminal gets colour" grep -q "$(printf '\033')\[1m" screen
    NO_COLOR=1 TERM=xterm LC_ALL=C.UTF-8 script -qec \
        "'$BPTT' inspect model.safetensors book.txt $few 2> /dev/null" /dev/null > screen 2>&1 < /dev/null
    check "but not against NO_COLOR" sh -c '! grep -q "$(printf "\033")\[1m" screen'
    check "and blocks where the locale has them" grep -q "█" screen
fi

# Bad input
for option in "--lags 0" "--lags many" "--exponents 0" "--batch -1" "--target book.txt"; do
    # shellcheck disable=SC2086
    run "$BPTT" inspect model.safetensors book.txt $option
    is_status 2 "$option is wrong usage"
done
run "$BPTT" inspect model.safetensors
is_status 2 "no data is wrong usage"
bad()
{
    what=$1 words=$2
    shift 2
    run "$BPTT" inspect "$@"
    is_status 1 "$what is refused"
    err_has "$words" "and the reason said"
    check "in one line" [ "$(wc -l < err)" = 1 ]
}
: > empty.txt
printf 'l' > one.txt
printf 'line' > short.txt
printf 'line \303\251\n' > strange.txt
"$BPTT" init --cell gru --inputs 2 --outputs 1 --hidden 4 --out numbers.safetensors > /dev/null
bad "a model that is not there" "nothere" nothere.safetensors book.txt
bad "a text that is not there" "nothere.txt" model.safetensors nothere.txt
bad "an empty text" "is empty" model.safetensors empty.txt
bad "a single symbol" "needs 3" model.safetensors one.txt
bad "a text shorter than the lags" "at most --lags 1" model.safetensors short.txt --lags 2
bad "an unknown symbol" "unknown character" model.safetensors strange.txt
bad "a text for a model of numbers" "not a model of text" numbers.safetensors book.txt
bad "a text for a model" "book.txt" book.txt book.txt
bad "a budget that nothing fits in" "" model.safetensors book.txt --memory 1M
run "$BPTT" inspect model.safetensors short.txt --jacobians 1
is_status 0 "four symbols are enough for a lag of one"
# ---- what the run tells ----
"$BPTT" train book.txt --cell lstm --hidden 8 --batch 4 --length 16 --steps 20 --watch 5 --clip 0.0001 --valid 0 --quiet \
    --out watched.safetensors > /dev/null 2>&1
# shellcheck disable=SC2086
run "$BPTT" inspect watched.safetensors book.txt $few
out_has "100 % were clipped" "the share of clipped updates"
out_has "update" "and how far the last one went"
# shellcheck disable=SC2086
run "$BPTT" inspect watched.safetensors book.txt $few --json
check "as JSON too" grep -Eq '"update": [0-9.e-]+.*"clipped": 1' out
finish
