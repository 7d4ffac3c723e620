# cells.sh - the commands about cells: the list, one cell in all its stages, its proof, and cells that are wrong.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"

run "$BPTT" cells --quiet
is_status 0 "bptt cells"
ls "$TOP/cells" | sed 's/\.cell$//' | LC_ALL=C sort > want
LC_ALL=C sort out > got
check "lists what is in cells/" cmp want got
run "$BPTT" cells --json
out_has '"name": "lstm"' "as JSON"

for stage in equations graph phases backward tangent c; do
    run "$BPTT" cell lstm --stage $stage
    is_status 0 "bptt cell lstm --stage $stage"
    check "prints something" [ -s out ]
done
run "$BPTT" cell gru
out_has "parameters" "bptt cell gru shows the cost"
run "$BPTT" cell gru --json --inputs 3 --hidden 5
check "the parameters of a gru: 3 (5 (3 + 5) + 2 x 5)" grep -q '"parameters": 150,' out

run "$BPTT" check rnn
is_status 0 "bptt check rnn"
out_has "0 failed" "says that nothing failed"
run "$BPTT" check rnn --json
check "check --json" grep -q '"passed": [1-9][0-9]*, "failed": 0}$' out

cat > mine.cell <<'CELL'
# A leaky tanh network
cell mine
input x
state h
a  = sigmoid(W_a x + b_a)
h' = a * h + (1 - a) * tanh(W x + U h + b)
CELL
run "$BPTT" cell mine.cell
is_status 0 "a cell of one's own"
run "$BPTT" check mine.cell
is_status 0 "and its proof"

# wrong TEXT LINE:COLUMN NAME: the cell on standard input is refused at that place
wrong()
{
    cat > wrong.cell
    run "$BPTT" cell wrong.cell
    is_status 1 "$2"
    err_has "wrong.cell:$1" "says where"
    check "shows a caret" grep -q '^ *\^' err
}
wrong 4: "a function that is not there" << 'CELL'
cell wrong
input x
state h
h' = tanch(W x)
CELL
wrong 4: "a bracket missing" << 'CELL'
cell wrong
input x
state h
h' = tanh(W x + U h
CELL
wrong 3: "a state that is never assigned" << 'CELL'
cell wrong
input x
state h, c
h' = tanh(W x + U h + c)
CELL
wrong 5: "a value defined twice" << 'CELL'
cell wrong
input x
state h
a  = W x
a  = U h
h' = a
CELL
finish
