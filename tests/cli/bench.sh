# bench.sh - bptt bench says all it promises; how fast is not a matter of tests.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
unset BPTT_ISA
BPTT_CACHE=$PWD/cache
export BPTT_CACHE
quick='--hidden 20 --batch 3 --length 7 --seconds 0.001'

# shellcheck disable=SC2086
{
run "$BPTT" bench $quick --cell gru --inputs 5 --threads 1
is_status 0 "bptt bench"
out_has "gru: 5 inputs, 20 units, layers 1; windows of 7 steps and 3 rows; threads 1" "says what was measured"
out_has "equations built in, " "by which kernel"
out_has "peak of multiply-adds measured here: " "beside the peak of this machine"
for figure in "forward " "forward and backward " "streaming, 1 row "; do
    check "$figure" grep -q "^  $figure *[0-9.e+-]* ms *[0-9.]* GFLOP/s *[0-9.]* % *[0-9,]* steps/s$" out
done
for choice in "--batch 6" "--hidden 32" "--threads 0 (one per processor)"; do
    check "a choice: $choice" grep -q "^  $choice *[0-9.]*x\(  faster\)*$" out
done
check "and what to make of them" sh -c 'tail -n 1 out | grep -q "none of these is faster\|would run .*x as fast\|has more units"'

run "$BPTT" bench $quick --hidden 16 --threads 2 --precision f64 --json
is_status 0 "bptt bench --json"
check "one object" sh -c '[ "$(wc -l < out)" = 1 ] && grep -q "^{\"cell\": \"lstm\", .*}$" out'
for key in peak_gflops kernel forward gradient step choices gflops fraction steps_per_second gain worth; do
    out_has "\"$key\": " "holds $key"
done
out_has '"change": "--threads 1"' "its choices hold the change"
out_has '"change": "--precision f32"' "single precision for double"
out_lacks '"change": "--hidden' "16 units are wide enough"
out_lacks 'null' "every figure is a number"
run "$BPTT" bench $quick --quiet
check "--quiet is one number" grep -qx '[0-9.e+-]*' out

cat > mine.cell <<'CELL'
# A leaky tanh network
cell mine
input x
state h
a  = sigmoid(W_a x + b_a)
h' = a * h + (1 - a) * tanh(W x + U h + b)
CELL
run env CC=/nonexistent/cc "$BPTT" bench $quick --cell mine.cell
is_status 0 "a cell of one's own without a compiler"
out_has "equations interpreter; " "is interpreted"
out_has "cannot run the C compiler '/nonexistent/cc'" "and why is said"
if command -v "${CC:-cc}" > /dev/null; then
    run "$BPTT" bench $quick --cell mine.cell --interpret
    out_has "equations interpreter; " "--interpret"
    out_has "without --interpret, compiled" "is held against the compiled cell"
    rm -rf cache
    run "$BPTT" bench $quick --cell mine.cell
    out_has "compiled just now" "with a compiler it is compiled"
else
    skip "compiled cells" "there is no C compiler"
fi

fails 1 "bptt bench: unknown cell 'gruu'; did you mean 'gru'?" "an unknown cell" "$BPTT" bench --cell gruu
fails 1 "bptt bench: cell lstm has no size 'Q'" "an unknown size" "$BPTT" bench $quick --dim Q=1
fails 1 "bptt bench: BPTT_ISA=sse9: unknown instruction set" "an unknown instruction set" \
    env BPTT_ISA=sse9 "$BPTT" bench $quick
fails 2 "--seconds 0: must be from 0.001" "no time" "$BPTT" bench --seconds 0
fails 2 "--batch 0: must be from 1" "no rows" "$BPTT" bench --batch 0
fails 2 "one argument too many: gru" "a cell without --cell" "$BPTT" bench gru
}
finish
