#!/bin/sh
# docs.sh - what the pages say is run. In README.md, docs/*.md and docs/*/*.md:
#
#   ```sh          a block of commands; the first one that fails fails it
#   ```sh norun    commands for the reader alone (installing, downloads, an hour of training)
#   ```cell        a cell, which `bptt cell` must accept
#   ```cell norun  a piece of one
#
# The blocks of one page run in order in one folder, which looks like the repository's root; build/bptt is on PATH.
# shellcheck source=cli/tap.sh
. "$TOP/tests/cli/tap.sh"
PATH=$(dirname "$BPTT"):$PATH

# blocks PAGE: writes LINE.sh and LINE.cell, names in order
blocks()
{
    awk '/^ *```/ { if (file) { close(file); file = ""; next }
                    if (inside) { inside = 0; next }
                    inside = 1
                    if ($0 ~ /```sh *$/) file = sprintf("%05d.sh", NR)
                    else if ($0 ~ /```cell *$/) file = sprintf("%05d.cell", NR)
                    if (file) { inside = 0; printf "" > file }
                    next }
         file { print > file }' "$1"
}

for page in "$TOP"/README.md "$TOP"/docs/*.md "$TOP"/docs/*/*.md; do
    [ -f "$page" ] || continue
    name=${page#"$TOP/"}
    mkdir -p pages here
    (cd pages && rm -f ./* && blocks "$page")
    rm -rf here && mkdir here
    for entry in "$TOP"/*; do
        case $entry in */build) ;; *) ln -s "$entry" here/ ;; esac
    done
    for block in pages/*; do
        [ -f "$block" ] || continue
        line=$(basename "$block" | sed 's/^0*\([0-9]*\)\..*/\1/')
        case $block in
        *.sh) run sh -c 'cd here && sh -e "../$1"' - "$block" ;;
        *.cell) run "$BPTT" cell "$block" ;;
        esac
        is_status 0 "$name:$line $(sed -n '/^[^#]/{p;q;}' "$block" | cut -c1-70)"
    done
done
[ "$tests" -gt 0 ] || skip "pages" "there is no README.md yet"
finish
