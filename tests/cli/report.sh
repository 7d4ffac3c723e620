# report.sh - bptt report: the page of healthy, exploding and vanishing runs, several on one page, pictures, bad input, and
# the page in a browser: nothing on its console, curves, values under a pointer, light and dark, narrow and wide.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
metrics()
{
    awk -f "$TOP/tests/run_metrics" "$@"
}
mkdir runs empty
metrics -v kind=healthy -v layers=2 > runs/healthy.safetensors.jsonl
metrics -v kind=exploding > runs/exploding.safetensors.jsonl
metrics -v kind=vanishing > runs/vanishing.safetensors.jsonl
metrics -v kind=plain -v steps=300 > plain.jsonl

# ---- one run ----
for kind in healthy exploding vanishing; do
    run "$BPTT" report runs/$kind.safetensors.jsonl --out $kind.html
    is_status 0 "the page of a run that is $kind"
    check "under 1 MiB" [ "$(wc -c < $kind.html)" -lt 1048576 ]
    check "which asks nothing of a network" sh -c "! sed 's,http://www.w3.org/[0-9a-z/]*,,g' $kind.html | grep -q 'https*://\|src=\"[^d]'"
done
check "healthy: the verdict" grep -q '<h3>Healthy</h3>' healthy.html
check "exploding: the verdict" grep -q '<h3>This run went wrong</h3>' exploding.html
check "exploding: the first thing to try" grep -q 'no longer a number.*Try:.*--clip 1' exploding.html
check "vanishing: the verdict" grep -q '<h3>Look at this</h3>' vanishing.html
check "vanishing: said in words" grep -q 'The gradient vanishes: it falls below 1 % within [0-9] steps.*--cell lstm' vanishing.html
finish
