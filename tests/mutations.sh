#!/bin/sh
# mutations.sh - a test that cannot fail proves nothing: plants a sign error in each derivative of src/cell/ops.def, and in
# each rule of src/cell/derive.c, one at a time, and expects test_ops to go red every time.

cp -r "$TOP/src" "$TOP/include" "$TOP/tests" . || exit 1
compile="$CC -std=gnu17 -O1 -Iinclude"
$compile -c tests/test_ops.c -o test_ops.o || exit 1
$compile -c tests/tap.c -o tap.o || exit 1

# expect_red NAME FILE: the changed FILE of src/cell, linked before the library's own, makes test_ops fail
expect_red()
{
    $compile -w -c "src/cell/$2" -o changed.o && $CC -o changed test_ops.o tap.o changed.o "$BUILD/libbptt.a" \
        -ljansson -lm -lpthread -ldl || return
    if ./changed > changed.out 2>&1; then
        echo "not ok $((count += 1)) - $1 goes unnoticed"
        failed=1
    else
        echo "ok $((count += 1)) - $1 is noticed"
    fi
}
count=0
failed=0

# A derivative that is zero has no sign.
grep -n '^ELEMENTWISE(' "$TOP/src/cell/ops.def" | while IFS= read -r row; do
    line=${row%%:*}
    echo "$row" | awk -F'"' -v line="$line" '{ for (i = NF - 3; i <= NF - 1; i += 2)
        if ($i != "" && $i != "0") printf "%s\t%d\t%s\n", line, i, $i }'
done > derivatives
while IFS='	' read -r line field text; do
    awk -F'"' -v OFS='"' -v line="$line" -v field="$field" 'NR == line { $field = "-(" $field ")" } { print }' \
        "$TOP/src/cell/ops.def" > src/cell/ops.def
    expect_red "the sign of $text in line $line" graph.c
done < derivatives
cp "$TOP/src/cell/ops.def" src/cell/ops.def

# rule NAME BEFORE AFTER: in derive.c
rule()
{
    grep -qF "$2" "$TOP/src/cell/derive.c" || { echo "not ok $((count += 1)) - $1: the rule is not where it was"; failed=1; return; }
    awk -v before="$2" -v after="$3" '{ at = index($0, before)
        if (at) $0 = substr($0, 1, at - 1) after substr($0, at + length(before)) } { print }' \
        "$TOP/src/cell/derive.c" > src/cell/derive.c
    expect_red "$1" derive.c
}
rule "the sign of a weight gradient" 'plain ? g : v, plain ? v : g)' 'plain ? graph_op(to, OP_NEG, g, -1) : v, plain ? v : graph_op(to, OP_NEG, g, -1))'
rule "a matrix for its transpose" 'plain ? OP_PRODUCT_T : OP_PRODUCT, matrix, g' 'plain ? OP_PRODUCT_T : OP_PRODUCT, matrix, graph_op(to, OP_NEG, g, -1)'
rule "the sign of a vector's gradient" 'graph_sink(to, SINK_ROWS, node->leaf, g, -1)' 'graph_sink(to, SINK_ROWS, node->leaf, graph_op(to, OP_NEG, g, -1), -1)'
rule "the sign of a sum's derivative" 'graph_broadcast(to, g, r->values.forward->node[node->a].dim)' 'graph_broadcast(to, graph_op(to, OP_NEG, g, -1), r->values.forward->node[node->a].dim)'
rule "the sign of a broadcast's derivative" 'contribute(r, node->a, graph_sum(to, g))' 'contribute(r, node->a, graph_op(to, OP_NEG, graph_sum(to, g), -1))'
rule "the sign of a tangent product" 'value_of(v, node->b), node->dim);' 'graph_op(v->to, OP_NEG, value_of(v, node->b), -1), node->dim);'
rule "the sign of a tangent" 'graph_op(v->to, OP_MUL, t, derivative_of(v, n, k))' 'graph_op(v->to, OP_NEG, graph_op(v->to, OP_MUL, t, derivative_of(v, n, k)), -1)'
echo "1..$count"
exit $failed
