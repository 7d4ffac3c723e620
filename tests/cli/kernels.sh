# kernels.sh - no silent slow path: which code runs each layer, and why nothing faster, wherever a model runs.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
unset BPTT_ISA
BPTT_CACHE=$PWD/cache
export BPTT_CACHE
cat > mine.cell <<'CELL'
# A leaky tanh network
cell mine
input x
state h
a  = sigmoid(W_a x + b_a)
h' = a * h + (1 - a) * tanh(W x + U h + b)
CELL
echo 'to be or not to be, that is the question' > book.txt

run "$BPTT" plan --hidden 16 --layers 2
is_status 0 "bptt plan"
out_has "layers 0 to 1: equations built in, " "names what both layers run on"
out_has "the cell's code was generated when bptt was built; " "and why"
run "$BPTT" plan --hidden 16 --json
check "plan --json" grep -q '"kernels": \[{"cell": "built in, .*", "products": "micro-kernels, .*", "reason": ' out
run "$BPTT" plan --hidden 16 --quiet
out_lacks "layer" "plan --quiet says the total alone"

run "$BPTT" plan --hidden 256 --batch 16 --threads 2
out_has "within a step 2 of 2 workers share the rows" "many rows"
run "$BPTT" plan --hidden 256 --batch 1 --threads 2
out_has "within a step 2 of 2 workers share the hidden units" "one row, many units"
run "$BPTT" plan --hidden 8 --batch 1 --threads 2
out_has "within a step one of 2 workers does it all" "one row, few units"
run "$BPTT" plan --hidden 256 --batch 1 --dropout-state 0.5 --threads 2
out_has "within a step one of 2 workers does it all" "one row, and a mask on the state"
run "$BPTT" plan --hidden 8 --batch 1 --threads 1
out_lacks "within a step" "one thread"

run env BPTT_ISA=generic "$BPTT" plan --hidden 16
out_has "equations built in, generic; products micro-kernels, generic" "a forced instruction set"
best=$("$BPTT" plan --hidden 16 | sed -n 's/^layer 0: .*micro-kernels, //p')
if [ "$best" = generic ]; then
    out_has "this machine has none of the instruction sets" "with nothing better to be had"
else
    out_has "BPTT_ISA=generic asks for less than this machine has: $best is faster" "is not passed over in silence"
fi

run "$BPTT" plan --hidden 16 --precision bf16
out_has "products micro-kernels, $best, bf16" "bfloat16"
out_has "products in bfloat16 " "and how it multiplies"
whole=$("$BPTT" plan --hidden 256 --batch 32 --length 100 --json | sed 's/.*"recorded": \([0-9]*\),.*/\1/')
half=$("$BPTT" plan --hidden 256 --batch 32 --length 100 --json --precision bf16 | sed 's/.*"recorded": \([0-9]*\),.*/\1/')
check "records half the bytes" [ "$whole" = $((2 * half)) ]
run "$BPTT" plan --precision bf16 --gradient rtrl
is_status 1 "forward mode in bfloat16"
err_has "bf16 goes with the backward strategies; rtrl runs forward" "is refused with the reason"
run "$BPTT" train book.txt --precision f64
is_status 2 "training in double precision"
err_has "--precision f64: must be one of f32, bf16" "is refused"

run "$BPTT" plan --cell mine.cell --hidden 16
out_has "layer 0: equations interpreter; " "a cell of one's own at first"
out_has 'nobody compiled the cell for this instruction set: `bptt cell FILE --compile` does' "and how to do better"
run env CC=/nonexistent/cc "$BPTT" train book.txt --cell mine.cell --hidden 16 --steps 2 --batch 1 --length 8 --verbose --out a
is_status 0 "training without a compiler"
out_has "the interpreter runs its equations: cannot run the C compiler '/nonexistent/cc'" "says that there is none"

if command -v "${CC:-cc}" > /dev/null; then
    run "$BPTT" train book.txt --cell mine.cell --hidden 16 --steps 2 --batch 1 --length 8 --verbose --out a
    out_has "layer 0: equations compiled, " "training with one compiles the cell"
    out_has "the cell's code was compiled just now; " "and says so"
    run "$BPTT" train book.txt --cell mine.cell --hidden 16 --steps 2 --batch 1 --length 8 --json --out b
    out_has "the cell's code was compiled before and is taken from the cache; " "the next run takes it from the cache"
    run "$BPTT" train book.txt --cell mine.cell --hidden 16 --steps 2 --batch 1 --length 8 --precision bf16 --verbose --out c
    is_status 0 "in bfloat16 too"
    out_has "layer 0: equations compiled, " "with compiled code"
    out_has ", bf16" "of that precision"
else
    skip "compiled cells" "there is no C compiler"
fi
run "$BPTT" train book.txt --hidden 8 --steps 2 --batch 1 --length 8 --out a
out_lacks "layer 0: " "without --verbose a good kernel is not talked about"
run "$BPTT" eval a book.txt --verbose --json
err_has "layer 0: equations built in, " "eval --verbose, on standard error"
check "its JSON stays alone on standard output" grep -q '^{"loss": .*}$' out

"$BPTT" init --inputs 1 --outputs 1 --hidden 3 --loss mse --out m --quiet
npy x.npy '<f4' '(2, 1, 1)' '\0\0\0\0\0\0\0\0'
run "$BPTT" run m --input x.npy --out y.npy --verbose --quiet
err_has "layer 0: equations built in, " "run --verbose"
run "$BPTT" run m --input x.npy --out y.npy --verbose --precision f64
err_has "products micro-kernels, generic" "in double precision"
[ "$best" = generic ] || err_has "double precision was asked for, which has plain code alone; single precision runs on $best" "and why"
run "$BPTT" grad m --input x.npy --target x.npy --precision bf16 --verbose --quiet
is_status 0 "grad in bfloat16"
err_has ", bf16" "by its kernels"
run "$BPTT" grad m --input x.npy --target x.npy --precision bf16 --gradient snap1
is_status 1 "its forward mode"
err_has "bf16 goes with the backward strategies; snap1 runs forward: take precision f32" "is refused"
run "$BPTT" grad m --input x.npy --target x.npy --verbose --json
err_has "layer 0: equations built in, " "grad --verbose"
run "$BPTT" run m --input x.npy --out y.npy
check "nothing on standard error without it" [ ! -s err ]
finish
