# train.sh - a text from beginning to end: train, stop, go on, evaluate, sample; and the same bits on every way.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
awk 'BEGIN { for (i = 0; i < 400; i++) print "line " i " of a small text, as plain as " i % 7 " can be." }' > book.txt

# small OUT...: the training run that all the checks below compare
small()
{
    small_out=$1
    shift
    run "$BPTT" train book.txt --cell gru --hidden 16 --batch 4 --length 16 --steps 60 --seed 3 --valid 0.1 \
        --valid-every 20 --checkpoint-every 10 --out "$small_out" "$@"
}
same_file() { check "$3" cmp "$1" "$2"; }

small plain.safetensors --threads 1
is_status 0 "training ends well"
out_has "validation loss" "and was validated"
check "the model is there" [ -s plain.safetensors ]
check "no temporary file is left" sh -c '! ls | grep -E "tmp|part|~$"'

small two.safetensors --threads 2
same_file plain.safetensors two.safetensors "two threads give the same bits"
small again.safetensors --threads 1 --json
same_file plain.safetensors again.safetensors "so does the same again"
check "--json: each line is one object" sh -c '! grep -vq "^{.*}\$" out'
out_has '"event": "valid"' "--json: validations"
check "--json: the result comes last" sh -c 'tail -n 1 out | grep -q "\"event\": \"end\".*\"step\": 60"'
small quiet.safetensors --quiet
check "--quiet says nothing" [ ! -s out ]

# Warnings go where errors go; a watched run has the same bits.
cat > loud.cell <<END
cell loud
input x
state h
param U[H, H] = normal(0.4)
h' = W x + U h + b
END
run "$BPTT" train book.txt --cell ./loud.cell --hidden 16 --length 16 --clip 0 --steps 20 --valid 0 --watch 10 --out loud.safetensors
err_has "train: warning: step 1: the gradient of layer 0 grows" "--watch warns on standard error"
run "$BPTT" train book.txt --cell ./loud.cell --hidden 16 --length 16 --clip 0 --steps 20 --valid 0 --watch 10 --out loud.safetensors --json
out_has '"event": "warning"' "--json: as an event"
small watched.safetensors --watch 7
same_file plain.safetensors watched.safetensors "--watch leaves every bit as it was"

# Stopped by a signal as soon as there is a checkpoint, then resumed: the same bits as never stopped.
stopped()
{
    signal=$1 out=$2
    "$BPTT" train book.txt --cell gru --hidden 16 --batch 4 --length 16 --steps 3000 --seed 3 --valid 0.1 \
        --valid-every 1000 --checkpoint-every 10 --out "$out" --resume > stopped.out 2> stopped.err &
    process=$!
    for _ in $(seq 600); do
        if [ -s "$out.ckpt" ] || ! kill -0 "$process" 2> /dev/null; then break; fi
        sleep 0.05
    done
    kill "-$signal" "$process" 2> /dev/null
    status=0
    wait "$process" 2> /dev/null || status=$?
}
long()
{
    run "$BPTT" train book.txt --cell gru --hidden 16 --batch 4 --length 16 --steps 3000 --seed 3 --valid 0.1 \
        --valid-every 1000 --checkpoint-every 1000 --out "$1" --resume --quiet
}
long whole.safetensors
is_status 0 "--resume with nothing to go on from trains from the start"

stopped INT paused.safetensors
is_status 1 "an interrupted run says that it is not done"
check "it says how to go on" grep -q '^  bptt train book.txt .*--resume$' stopped.err
check "starting anew under --resume was said" grep -qi 'anew\|from the start\|nothing to go on' stopped.out
long paused.safetensors
is_status 0 "and goes on with --resume"
same_file whole.safetensors paused.safetensors "to the same bits as a run that was never stopped"

stopped KILL killed.safetensors
check "a killed run left a checkpoint" [ -s killed.safetensors.ckpt ]
long killed.safetensors
same_file whole.safetensors killed.safetensors "a killed run goes on to the same bits as well"

# What the model is then used for.
run "$BPTT" eval plain.safetensors book.txt --json
is_status 0 "eval"
check "eval --json has loss, bits, perplexity, tokens" grep -q '"loss": .*"bits": .*"perplexity": .*"tokens": ' out
run "$BPTT" sample plain.safetensors --length 50 --seed 5 --prompt 'line '
is_status 0 "sample"
cp out first
run "$BPTT" sample plain.safetensors --length 50 --seed 5 --prompt 'line '
same_file first out "the same seed draws the same text"
check "the prompt and 50 characters" [ "$(wc -c < out)" -ge 55 ]
run "$BPTT" sample plain.safetensors --length 50 --seed 6 --prompt 'line '
check "another seed another text" sh -c '! cmp -s first out'
run "$BPTT" sample plain.safetensors --length 20 --temperature 0 --json
check "sample --json" grep -q '^{"prompt": "", "text": "' out

for symbols in bytes words; do
    run "$BPTT" train book.txt --symbols $symbols --hidden 8 --batch 2 --length 8 --steps 4 --out $symbols.safetensors
    is_status 0 "--symbols $symbols"
    run "$BPTT" sample $symbols.safetensors --length 5
    is_status 0 "and a sample"
done
for optimizer in sgd rmsprop adam adamw; do
    run "$BPTT" train book.txt --optimizer $optimizer --hidden 8 --batch 2 --length 8 --steps 4 --lr 0.001 --out o.safetensors
    is_status 0 "--optimizer $optimizer"
done
for schedule in constant cosine step plateau; do
    run "$BPTT" train book.txt --schedule $schedule --decay-every 2 --warmup 2 --hidden 8 --batch 2 --length 8 --steps 4 \
        --out o.safetensors
    is_status 0 "--schedule $schedule"
done
run "$BPTT" train book.txt --tied --dropout 0.2 --dropout-state 0.2 --layers 2 --windows random --clip-value 0.5 \
    --hidden 8 --batch 2 --length 8 --epochs 0.01 --out o.safetensors
is_status 0 "tied weights, dropout, layers, random windows, epochs"
run "$BPTT" train book.txt --hidden 8 --batch 2 --length 8 --minutes 0.02 --valid 0 --out o.safetensors
is_status 0 "a limit in minutes, no validation"
run "$BPTT" train book.txt --hidden 8 --batch 2 --length 8 --steps 4 --valid book.txt --out o.safetensors
is_status 0 "validation by a file"
finish
