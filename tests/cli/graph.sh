# graph.sh - bptt graph: in the terminal, as SVG, for Graphviz, as JSON; every cell of the zoo; cuts; bad input.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"

# well_formed NAME FILE: as an XML parser sees it
well_formed()
{
    if command -v xmllint > /dev/null; then
        check "$1" xmllint --noout "$2"
    elif command -v python3 > /dev/null; then
        check "$1" python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$2"
    else
        skip "$1" "neither xmllint nor python3"
    fi
}

# In the terminal
run "$BPTT" graph rnn
is_status 0 "bptt graph ends well"
check "nothing on standard error" [ ! -s err ]
out_has "[w_o]--------------(g)--------------(g)--------------(g)" "parameters stand once, for all steps"
out_has "   h_0 ---->(f)--> h_1  ---->(f)--> h_2  ---->(f)--> h_3" "states through time"
out_has "L: mean of L_1 to L_3" "and the loss"
check "no line is wider than 80 columns" sh -c '! grep -q ".\{81\}" out'
run "$BPTT" graph rnn --steps 60
out_has "... and so on to step 60" "what has no room is said"
check "no line is wider than 80 columns" sh -c '! grep -q ".\{81\}" out'
run "$BPTT" graph lstm --detail
out_has "c' = f * c + i * g" "--detail: the equations of f"
run "$BPTT" graph lstm --quiet
check "--quiet: nothing" [ ! -s out ]

# Cuts
run "$BPTT" graph rnn --gradient segments:2 --svg cut.svg
out_has "h_2  -//->(f)--> h_3" "a link that is cut"
out_has "gradient of L_1 to L_2: back to step 1" "losses and how far back they reach"
check "the picture marks it" grep -q 'class="mark"' cut.svg
check "with the line through time in its style" grep -q 'class="cut" marker-end' cut.svg
run "$BPTT" graph rnn --gradient truncated:1,2 --svg reach.svg
out_has "gradient of L_3: back to step 2" "a truncation that reaches over others"
check "no link of it is cut for all" sh -c '! grep -q "class=\"cut\"" reach.svg'
check "each loss has its bar" [ "$(grep -c 'class="bar"' reach.svg)" = 3 ]
run "$BPTT" graph rnn --steps 8 --gradient random:0.5 --seed 3
out_has "gradient times 2" "random links are weighted"
cp out first
run "$BPTT" graph rnn --steps 8 --gradient random:0.5 --seed 3
check "the same again with the same seed" cmp out first
run "$BPTT" graph rnn --gradient rtrl
out_has "gradient rtrl: no link is cut" "forward mode cuts nothing"

# Every cell
for cell in $("$BPTT" cells --quiet); do
    run "$BPTT" graph "$cell" --quiet --svg a.svg --dot a.dot
    is_status 0 "$cell is drawn"
    run "$BPTT" graph "$cell" --detail --steps 2 --quiet --svg b.svg --dot b.dot
    is_status 0 "$cell is drawn in detail"
    well_formed "$cell: well formed" a.svg
    well_formed "$cell: in detail too" b.svg
    if command -v dot > /dev/null; then
        check "$cell: Graphviz takes it" sh -c 'dot -Tsvg a.dot && dot -Tsvg b.dot'
    fi
done
command -v dot > /dev/null || skip "Graphviz" "dot is not installed"
check "for dark pages too" grep -q 'prefers-color-scheme: dark' a.svg
check "no coordinate is not a number" sh -c '! grep -qi "nan\|inf" a.svg b.svg'

# Cells of one's own
printf 'cell own\ninput x\nstate h\nparam W_lt[H, H]\nh%s = max(tanh(V x), W_lt h)\n' "'" > own.cell
run "$BPTT" graph own.cell --detail --svg own.svg
is_status 0 "a cell file"
check "with the names of its parameters" grep -q 'W<tspan class="sub" dy="4">lt</tspan>' own.svg
printf 'cell still\ninput x\nstate h, k\nh%s = k\nk%s = 1\n' "'" "'" > still.cell
run "$BPTT" graph still.cell --detail --svg still.svg --dot still.dot
is_status 0 "a cell without operations, inputs and parameters"
well_formed "is well formed" still.svg

# JSON
run "$BPTT" graph lstm --json --gradient segments:1
check "one line" [ "$(wc -l < out)" = 1 ]
out_has '"links": [0, 0]' "links"
if command -v python3 > /dev/null; then
    check "edges lead from nodes to nodes" python3 -c '
import json
g = json.load(open("out"))
n = len(g["nodes"])
assert [x["id"] for x in g["nodes"]] == list(range(n))
assert all(0 <= e["from"] < n and 0 <= e["to"] < n for e in g["edges"])
assert len({(e["from"], e["to"]) for e in g["edges"]}) == len(g["edges"])'
else
    skip "JSON" "no python3"
fi

# Bad input
fails 1 "unknown cell 'nothere'" "an unknown cell" "$BPTT" graph nothere
fails 1 "gone.cell" "a cell file that is not there" "$BPTT" graph ./gone.cell
fails 2 "--steps 0: must be from 1 to 64" "no steps" "$BPTT" graph rnn --steps 0
fails 2 "--steps 1000000: must be from 1 to 64" "too many" "$BPTT" graph rnn --steps 1000000
fails 2 "--steps" "steps that are no number" "$BPTT" graph rnn --steps many
fails 1 "there is no gradient 'half'" "an unknown strategy" "$BPTT" graph rnn --gradient half
fails 1 "cut every 9 steps, but there are only 3" "a cut beyond the end" "$BPTT" graph rnn --gradient segments:9
fails 1 "/nonexistent/a.svg: cannot write" "a picture that cannot be written" "$BPTT" graph rnn --svg /nonexistent/a.svg
fails 1 "/nonexistent/a.dot: cannot write" "a graph that cannot be written" "$BPTT" graph rnn --dot /nonexistent/a.dot
if [ -w /dev/full ]; then
    fails 1 "/dev/full: cannot write" "a full disk" "$BPTT" graph rnn --svg /dev/full
fi
fails 2 "graph" "two cells" "$BPTT" graph rnn lstm
{
    printf 'cell deep\ninput x\nstate h\na0 = tanh(W x + U h)\n'
    i=0
    while [ $i -lt 200 ]; do
        echo "a$((i + 1)) = tanh(W$i a$i) * a0 + h * b$i"
        i=$((i + 1))
    done
    echo "h' = a200"
} > deep.cell
fails 1 "deep in detail is too large for a picture" "a cell that no picture can show in detail" \
    "$BPTT" graph deep.cell --detail --svg deep.svg
run "$BPTT" graph deep.cell --svg deep.svg --dot deep.dot
is_status 0 "without detail it is drawn"
printf 'cell broken\ninput x\nstate h\nh%s = tanh(W x +\n' "'" > broken.cell
run "$BPTT" graph broken.cell --svg broken.svg
is_status 1 "a broken cell file"
err_has "broken.cell:4:16: expected a value" "says where"
check "and leaves no picture" [ ! -e broken.svg ]
finish
