# strategies.sh - --gradient, --memory and --spill from outside: the same bits under every budget, going on to the same bits with
# every strategy, and one clear line for what cannot be.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"

# tokens FILE SEED: 1,500 of them, below 7
tokens()
{
    # shellcheck disable=SC2046
    "$TOP/tools/npy" i4 1500,1 "$1" $(awk -v s="$2" 'BEGIN { for (i = 0; i < 1500; i++) { s = (s * 1103515245 + 12345) % 2147483648; print int(s / 65536) % 7 } }')
}
tokens x.npy 1
tokens y.npy 2
run "$BPTT" init --cell lstm --tokens 7 --hidden 24 --out m.safetensors
is_status 0 "a model"

# ---- budgets ----
run "$BPTT" grad m.safetensors --input x.npy --target y.npy --out full.safetensors
is_status 0 "the gradient of 1,500 steps"
fails 1 "this run needs at least" "one byte is too little, and the least that works is named" \
    "$BPTT" grad m.safetensors --input x.npy --target y.npy --memory 1
# within MORE ARGUMENTS...: a gradient with so many KiB above the least. What a process takes by itself, which the least counts,
# changes with what the system happens to keep of the program in memory (by more than a MiB under a sanitizer): where a run is
# told that it grew meanwhile, the least is the new one.
within()
{
    more=$1
    shift
    for attempt in 1 2 3 4 5; do
        least=$(sed 's/.*at least \([0-9]*\)K.*/\1/' refused)
        run "$BPTT" grad m.safetensors --input x.npy --target y.npy --memory $((least + more))K "$@" --out g.safetensors
        grep -q "this run needs at least" err || return 0
        cp err refused
    done
}
cp err refused
for more in 600 700 900 1500; do
    within "$more"
    is_status 0 "$more KiB above it"
    check "give the same bits" cmp g.safetensors full.safetensors
done
mkdir here
within 620 --spill here
is_status 0 "with states on disk"
check "the same bits" cmp g.safetensors full.safetensors
check "and nothing is left there" sh -c '[ -z "$(ls -A here)" ]'
cp full.safetensors kept.safetensors
fails 1 "nowhere" "a spill directory that is missing" \
    "$BPTT" grad m.safetensors --input x.npy --target y.npy --memory 64M --spill nowhere --out kept.safetensors
fails 1 "x.npy" "a spill directory that is a file" \
    "$BPTT" grad m.safetensors --input x.npy --target y.npy --memory 64M --spill x.npy --out kept.safetensors
check "a result that was there is unharmed" cmp kept.safetensors full.safetensors
for bytes in 0 -1M 12Q 1.5M 99999999999G ''; do
    fails 2 "--memory" "--memory '$bytes'" "$BPTT" grad m.safetensors --input x.npy --target y.npy --memory "$bytes"
done

# ---- interrupted ----
mkdir long
"$BPTT" init --cell lstm --inputs 8 --hidden 256 --outputs 1 --loss mse --out long/m.safetensors > /dev/null
"$TOP/tools/npy" f4 400000,1,8 long/x.npy random 1
"$TOP/tools/npy" f4 400000,1,1 long/y.npy random 2
"$BPTT" grad long/m.safetensors --input long/x.npy --target long/y.npy --out long/g.safetensors --memory 200M > out 2> err &
sleep 1
kill -INT $!
status=0
wait $! || status=$?
command_line="grad, interrupted"
is_status 1 "an interrupted gradient ends"
err_has "interrupted at step" "and says where"
check "and leaves nothing behind" sh -c '[ "$(ls -A long | sort | tr "\n" " ")" = "m.safetensors x.npy y.npy " ]'
rm -r long

# ---- strategies that are not ----
for strategy in random:0 random:1.1 random:nan random: truncated:5,2 truncated:0,4 truncated:5 segments:0 segments:-1 segments:x \
    segments:1501 truncated:1501,1502 adaptive:0 adaptive:1 adaptive:nan snap:0 rflo:1 rflo: full:1 nothing '' 'full '; do
    fails 1 "$strategy" "--gradient '$strategy'" "$BPTT" grad m.safetensors --input x.npy --target y.npy --gradient "$strategy"
done
fails 1 "truncated:k1,k2" "adaptive is for training" "$BPTT" grad m.safetensors --input x.npy --target y.npy --gradient adaptive:0.1
run "$BPTT" grad m.safetensors --input x.npy --target y.npy --gradient truncated:10,100000
is_status 0 "a truncation beyond the end is the end"

# ---- no step and one step ----
npy none.npy '<i4' '(0, 1)' ''
"$TOP/tools/npy" i4 1,1 one.npy 3
for strategy in full segments:1 truncated:1,2 random:0.5 rtrl snap1 uoro rflo; do
    run "$BPTT" grad m.safetensors --input one.npy --target one.npy --gradient "$strategy" --out g.safetensors
    is_status 0 "one step: $strategy"
    run "$BPTT" grad m.safetensors --input none.npy --target none.npy --gradient "$strategy" --out g.safetensors
    is_status 0 "no step: $strategy"
done

# ---- training ----
awk 'BEGIN { for (i = 0; i < 3000; i++) printf "%s", substr("abc dab. ", i * i % 7 + 1, 3) }' > text
for strategy in segments:5 truncated:5,10 random:0.8 random:geometric:6 adaptive:0.5 rtrl snap1 rflo uoro; do
    set -- "$BPTT" train text --hidden 12 --batch 3 --length 20 --dropout 0 --schedule constant --quiet --gradient "$strategy"
    run "$@" --steps 8 --out whole.safetensors
    is_status 0 "train: $strategy"
    run "$@" --steps 3 --out part.safetensors
    run "$@" --steps 8 --out part.safetensors --resume
    check "stopped and resumed: the same bits" cmp part.safetensors whole.safetensors
    rm -f part.safetensors* whole.safetensors*
done
run "$BPTT" train text --hidden 12 --batch 3 --length 20 --steps 101 --gradient adaptive:0.5 --out a.safetensors
out_has "adaptive:" "adaptive says what it chose"
run "$BPTT" train text --hidden 12 --batch 3 --length 20 --steps 2 --gradient segments:5 --out b.safetensors
fails 1 "--gradient segments:5" "another strategy is not the same run" \
    "$BPTT" train text --hidden 12 --batch 3 --length 20 --steps 4 --gradient full --out b.safetensors --resume
fails 1 "dropout" "forward mode and dropout" "$BPTT" train text --hidden 12 --dropout 0.3 --gradient rtrl --out c.safetensors
fails 1 "no parameter" "an unknown parameter to freeze" "$BPTT" train text --hidden 12 --freeze nothing --out c.safetensors
run "$BPTT" train text --hidden 12 --batch 3 --length 20 --steps 2 --freeze layers.0.U_f,head.bias --out d.safetensors
is_status 0 "parameters that are not trained"

# ---- plan ----
run "$BPTT" plan --hidden 32 --batch 1 --length 200000 --memory 120M --json
is_status 0 "plan under a budget"
out_has '"forward_steps": ' "counts forward steps"
run "$BPTT" plan --hidden 32 --batch 1 --length 40 --gradient truncated:10,20 --list
out_has "reverse 20..0" "its list of actions"
for planned in full/1 segments:10/4 rtrl/40; do
    run "$BPTT" plan --hidden 8 --batch 1 --length 40 --dropout 0 --gradient "${planned%/*}" --json
    check "updates of ${planned%/*} in a window" grep -Eq "\"updates\": *${planned#*/}\\b" out
done
run "$BPTT" plan --hidden 32 --batch 1 --length 200000 --memory 120M --svg plan.svg --quiet
check "its picture" grep -q "</svg>" plan.svg
fails 1 "/nowhere" "a picture that cannot be written" "$BPTT" plan --svg /nowhere/plan.svg --quiet
finish
