# horizon.sh - bptt horizon: the table, the chart of a terminal, JSON, a truncation asked about, and bad input.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
awk 'BEGIN { for (i = 0; i < 200; i++) print "line " i " of a small text, as plain as " i % 7 " can be." }' > book.txt
"$BPTT" train book.txt --cell gru --hidden 12 --layers 2 --batch 4 --length 16 --steps 40 --seed 3 --valid 0 \
    --threads 1 --quiet --out model.safetensors > /dev/null 2>&1
check "a model to look at" [ -s model.safetensors ]

run "$BPTT" horizon model.safetensors book.txt --lags 60 --windows 2
is_status 0 "bptt horizon ends well"
out_has "layer 1" "a table with a column for each layer"
check "lags 0, 1, 2, 4 to the last" sh -c \
    '[ "$(awk "/^ +[0-9]+ / { printf \"%s \", \$1 }" out)" = "0 1 2 4 8 16 32 59 " ]'
check "the decay and the half-life" grep -q '^The gradient decays by 0\.[0-9]* a step: half of it is left after [0-9.]* steps' out
for delta in 0.5 0.1 0.01; do
    check "a truncation for $delta" grep -q "^truncation [0-9]* .*relative bias of .*(below $delta)\$" out
done
check "no chart where no terminal is" sh -c '! grep -q logarithmic out'
run "$BPTT" horizon model.safetensors book.txt --lags 60 --windows 2 --threads 2
mv out first
run "$BPTT" horizon model.safetensors book.txt --lags 60 --windows 2 --threads 1
check "the same from one thread as from two" cmp out first

run "$BPTT" horizon model.safetensors book.txt --lags 60 --truncation 5
check "--truncation says what lies beyond" grep -q '^Beyond 5 steps lies, as estimated, [0-9.e-]* of the gradient' out
run "$BPTT" horizon model.safetensors book.txt --lags 60 --truncation 61
is_status 2 "a truncation beyond the lags is wrong usage"
err_has "only 60 lags were measured" "and says so"

run "$BPTT" horizon model.safetensors book.txt --lags 20 --truncation 20 --json
is_status 0 "--json"
check "--json: one object on one line" sh -c '[ "$(wc -l < out)" = 1 ] && grep -q "^{.*}\$" out'
for key in lags windows batch decay half_life choice truncation beyond norm layers bias; do
    out_has "\"$key\": " "--json: $key"
done
if command -v python3 > /dev/null; then
    check "--json: a norm and a bias for every lag, of two layers too" python3 -c '
import json
r = json.load(open("out"))
n = [len(r["norm"]), len(r["bias"]), *map(len, r["layers"])]
assert n == [20, 20, 20, 20] and r["beyond"] == r["bias"][19] and len(r["choice"]) == 3, n'
fi
run "$BPTT" horizon model.safetensors book.txt --lags 20 --quiet
check "--quiet: the decay alone" grep -q '^0\.[0-9]*$' out

# A model whose gradient does not fade: one lag cannot tell, two tell of growth or not.
run "$BPTT" horizon model.safetensors book.txt --lags 1
is_status 0 "one lag"
out_has "No decay can be told" "is too few to tell a decay"
out_has "look further with --lags" "and it says what to do"

if ! command -v script > /dev/null || ! script -qec true /dev/null > /dev/null 2>&1 < /dev/null; then
    skip "the charts" "no script(1) to make a terminal with"
else
    for locale in C C.UTF-8; do
        TERM=xterm LC_ALL=$locale script -qec \
            "stty cols 70; '$BPTT' horizon model.safetensors book.txt --lags 60 --windows 2" /dev/null > screen 2>&1 < /dev/null
        check "a terminal in $locale gets a chart" grep -q "Norm by lag, 0 to 59, logarithmic" screen
        check "and one for each layer" grep -q "Layer 1 by lag" screen
    done
fi

# Bad input
for lags in 0 -3 many; do
    run "$BPTT" horizon model.safetensors book.txt --lags "$lags"
    is_status 2 "--lags $lags is wrong usage"
done
run "$BPTT" horizon model.safetensors
is_status 2 "no text is wrong usage"
bad()
{
    what=$1 words=$2
    shift 2
    run "$BPTT" horizon "$@"
    is_status 1 "$what is refused"
    err_has "$words" "and the reason said"
    check "in one line" [ "$(wc -l < err)" = 1 ]
}
: > empty.txt
printf 'line' > short.txt
printf 'line \303\251\n' > strange.txt
"$BPTT" init --cell gru --inputs 2 --outputs 1 --hidden 4 --out numbers.safetensors > /dev/null
bad "a model that is not there" "nothere" nothere.safetensors book.txt
bad "a text that is not there" "nothere.txt" model.safetensors nothere.txt
bad "an empty text" "is empty" model.safetensors empty.txt
bad "a text shorter than the lags" "at most --lags 1" model.safetensors short.txt --lags 2
bad "an unknown symbol" "unknown character" model.safetensors strange.txt
bad "a model without symbols" "not a model of text" numbers.safetensors book.txt
run "$BPTT" horizon model.safetensors short.txt book.txt --windows 1
is_status 0 "several files are joined"
finish
