# options.sh - the options table: forms of options, types and ranges, missing and surplus arguments.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
echo 'to be or not to be' > book.txt

usage() { fails 2 "$@"; }

usage "bptt train: unknown option --hiden; did you mean --hidden?" "a letter missing" "$BPTT" train book.txt --hiden 3
usage "unknown option --hid; did you mean --hidden?" "the beginning of a name" "$BPTT" train book.txt --hid 3
usage "unknown option --frobnicate; bptt train --help lists them" "nothing near" "$BPTT" train book.txt --frobnicate
usage "unknown option -x; options begin with two dashes" "one dash" "$BPTT" train book.txt -x
usage "bptt train: --hidden needs a value: --hidden N" "a value missing" "$BPTT" train book.txt --hidden
usage "bptt train: --tied takes no value" "a value too many" "$BPTT" train book.txt --tied=1
usage "bptt train: needs FILE..." "no file" "$BPTT" train
usage "bptt eval: needs MODEL FILE..." "a model alone" "$BPTT" eval m.safetensors
usage "bptt sample: one argument too many: b" "an argument too many" "$BPTT" sample a b

for value in 0 -1 65537 99999999999; do
    usage "--hidden $value: must be from 1 to 65536" "hidden $value" "$BPTT" train book.txt --hidden "$value"
done
for value in '' 1.5 12x 99999999999999999999 k 9999999999G; do
    usage "--hidden $value: not a whole number" "hidden '$value'" "$BPTT" train book.txt --hidden "$value"
done
for value in abc 1e nan inf 1e999 ''; do
    usage "--lr $value: not a number" "lr '$value'" "$BPTT" train book.txt --lr "$value"
done
usage "--lr -1: must be from 0 to 1000" "a negative rate" "$BPTT" train book.txt --lr -1
usage "--dropout 1: must be from 0 to 0.99" "dropping everything" "$BPTT" train book.txt --dropout 1
usage "--threads -2: must be from 0 to 1024" "negative threads" "$BPTT" train book.txt --threads -2
usage "--optimizer adm: must be one of sgd, rmsprop, adam, adamw" "a choice" "$BPTT" train book.txt --optimizer adm
usage "--seed -1: not a whole number from 0 to 2^64 - 1" "a negative seed" "$BPTT" train book.txt --seed -1
usage "--valid 0.7: a share must be from 0 to 0.5" "most of the text held out" "$BPTT" train book.txt --valid 0.7
usage "--steps -5: must be at least 0" "negative steps" "$BPTT" train book.txt --steps -5

usage "bptt init: needs --out FILE" "init without a file" "$BPTT" init --inputs 3 --outputs 1
usage "bptt init: needs --inputs N" "init without inputs" "$BPTT" init --out m
usage "bptt init: needs --outputs N" "init without outputs" "$BPTT" init --inputs 3 --out m
usage "bptt run: needs --input FILE.npy" "run without input" "$BPTT" run m
usage "bptt run: needs --out FILE.npy or --final-state FILE" "run for nothing" "$BPTT" run m --input x.npy
usage "bptt grad: needs --target FILE.npy" "grad without target" "$BPTT" grad m --input x.npy
usage "exclude each other" "grad with target and output gradient" \
    "$BPTT" grad m --input x.npy --target y.npy --output-gradient dy.npy
usage "bptt check: needs a cell" "check without a cell" "$BPTT" check
usage "bptt cell: --stage d: must be one of equations, graph" "an unknown stage" "$BPTT" cell gru --stage d

# Forms that are fine: values after a space or =, suffixes, --no-, arguments after options, -- before names with dashes.
fine() { check "$1" sh -c '! grep -q "option\|must be\|not a" err'; }
run "$BPTT" train --hidden=8 --steps 1k --no-orthogonal missing.txt
is_status 1 "options in every form, and then the file is missing"
fine "and that alone is said"
err_has "missing.txt" "with its name"
run "$BPTT" train -- --missing.txt
is_status 1 "a name with dashes after --"
err_has "--missing.txt" "is a file's name"
fails 1 "missing.safetensors" "a missing model" "$BPTT" sample missing.safetensors
fails 1 "missing.cell" "a missing cell" "$BPTT" cell missing.cell

run sh -c '"$1" cells > /dev/full' - "$BPTT"
is_status 1 "a full disk behind standard output is a failure"
err_has "cannot write standard output" "and is said"
finish
