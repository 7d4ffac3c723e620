# arrays.sh - init, run and grad with files from outside: shapes, states carried by file, vector-Jacobian products, errors.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"

one='\000\000\200\077' half='\000\000\000\077' zero='\000\000\000\000'
npy x.npy '<f4' '(3, 1, 2)' "$one$half$zero$one$half$half"
npy y.npy '<f4' '(3, 1, 1)' "$one$zero$half"
npy dy.npy '<f4' '(3, 1, 1)' "$one$one$one"

run "$BPTT" init --cell lstm --inputs 2 --hidden 4 --layers 2 --outputs 1 --loss mse --seed 1 --out m.safetensors
is_status 0 "init"
run "$BPTT" init --cell lstm --inputs 2 --hidden 4 --layers 2 --outputs 1 --loss mse --seed 1 --out same.safetensors
check "the same seed, the same file" cmp m.safetensors same.safetensors
run "$BPTT" init --cell lstm --inputs 2 --hidden 4 --layers 2 --outputs 1 --loss mse --seed 2 --out other.safetensors
check "another seed, another file" sh -c '! cmp -s m.safetensors other.safetensors'

run "$BPTT" run m.safetensors --input x.npy --out o.npy --final-state s.safetensors --json
is_status 0 "run"
out_has '"shape": [3, 1, 1]' "outputs are [T, B, O]"
check "the output is a .npy" sh -c 'head -c 6 o.npy | grep -q NUMPY'
check "the state file names its states" grep -q 'layers.1.c' s.safetensors
run "$BPTT" run m.safetensors --input x.npy --out p.npy --threads 2
check "two threads give the same bits" cmp o.npy p.npy

# Two halves, the state handed over by a file, are the whole.
npy x1.npy '<f4' '(2, 1, 2)' "$one$half$zero$one"
npy x2.npy '<f4' '(1, 1, 2)' "$half$half"
run "$BPTT" run m.safetensors --input x1.npy --final-state s1.safetensors
is_status 0 "the first two steps"
run "$BPTT" run m.safetensors --input x2.npy --initial-state s1.safetensors --out o2.npy
is_status 0 "the third one"
tail -c 4 o.npy > last.whole
tail -c 4 o2.npy > last.half
check "gives the same output" cmp last.whole last.half
run "$BPTT" run m.safetensors --input x.npy --out d.npy --precision f64
check "double precision writes doubles" grep -q "<f8" d.npy

run "$BPTT" grad m.safetensors --input x.npy --target y.npy --out g.safetensors --json
is_status 0 "grad"
check "its loss is a number" grep -q '^{"loss": [0-9]' out
for name in layers.0.U_f layers.1.b_i head.weight head.bias input initial.layers.0.h initial.layers.1.c; do
    check "the gradient file has $name" grep -q "\"$name\"" g.safetensors
done
run "$BPTT" grad m.safetensors --input x.npy --output-gradient dy.npy --final-gradient s.safetensors --out v.safetensors --json
is_status 0 "a vector-Jacobian product"
out_has '"loss": null' "has no loss"

npy tokens.npy '<i4' '(3, 1)' '\000\000\000\000\001\000\000\000\002\000\000\000'
run "$BPTT" init --cell gru --tokens 3 --hidden 4 --loss cross-entropy --out t.safetensors
is_status 0 "a model of tokens"
run "$BPTT" grad t.safetensors --input tokens.npy --target tokens.npy --out g.safetensors
is_status 0 "its gradient"
check "has none for the input" sh -c '! grep -q "\"input\"" g.safetensors'
run "$BPTT" init --cell rnn --inputs 2 --hidden 4 --head none --out n.safetensors
is_status 0 "a model without a head"
run "$BPTT" run n.safetensors --input x.npy --out o.npy --json
out_has '"shape": [3, 1, 4]' "gives the layer's output"

fails 1 missing.npy "a missing input" "$BPTT" run m.safetensors --input missing.npy --out o.npy
printf 'no array' > text.npy
fails 1 text.npy "an input that is no array" "$BPTT" run m.safetensors --input text.npy --out o.npy
npy cut.npy '<f4' '(3, 1, 2)' "$one$half"
fails 1 cut.npy "an input cut short" "$BPTT" run m.safetensors --input cut.npy --out o.npy
npy wide.npy '<f4' '(2, 1, 3)' "$one$one$one$one$one$one"
fails 1 "3" "an input of the wrong width" "$BPTT" run m.safetensors --input wide.npy --out o.npy
npy flat.npy '<f4' '(6,)' "$one$one$one$one$one$one"
fails 1 "T, B, I" "an input of the wrong rank" "$BPTT" run m.safetensors --input flat.npy --out o.npy
npy big.npy '<i4' '(3, 1)' '\000\000\000\000\007\000\000\000\002\000\000\000'
fails 1 "7" "a token outside the vocabulary" "$BPTT" run t.safetensors --input big.npy --out o.npy
fails 1 "" "a target of the wrong shape" "$BPTT" grad m.safetensors --input x.npy --target x.npy --out g.safetensors
fails 1 "" "a state of another model" "$BPTT" run t.safetensors --input tokens.npy --initial-state s.safetensors --out o.npy
fails 1 nowhere/o.npy "an output folder that is not there" "$BPTT" run m.safetensors --input x.npy --out nowhere/o.npy
finish
