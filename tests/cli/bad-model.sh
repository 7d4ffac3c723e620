# bad-model.sh - model files that are not what they should be: status 1 and one line that names the file.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
run "$BPTT" init --cell gru --tokens 5 --hidden 4 --loss cross-entropy --out good.safetensors
is_status 0 "a good model to begin with"
size=$(wc -c < good.safetensors)

bad() { fails 1 "$1" "$2" "$BPTT" sample "$1"; }

bad missing.safetensors "missing"
: > empty.safetensors
bad empty.safetensors "empty"
mkdir folder.safetensors
bad folder.safetensors "a directory"
printf 'a text and no model at all' > text.safetensors
bad text.safetensors "a text"
for part in 4 8 20 $((size / 2)) $((size - 1)); do
    head -c "$part" good.safetensors > cut.safetensors
    bad cut.safetensors "cut after $part bytes"
done
{ cat good.safetensors; printf 'more'; } > long.safetensors
bad long.safetensors "bytes after the end"
{ printf '\377\377\377\377\377\377\377\177'; tail -c +9 good.safetensors; } > header.safetensors
bad header.safetensors "a header longer than the file"
{ head -c $((size - 4)) good.safetensors; printf '\000\000\300\177'; } > nan.safetensors
bad nan.safetensors "a weight that is not a number"
sed 's/"F32"/"F99"/' good.safetensors > type.safetensors
bad type.safetensors "an unknown type"
sed 's/data_offsets/data_0ffsets/' good.safetensors > name.safetensors
bad name.safetensors "a header without offsets"
fails 1 folder.safetensors "init onto a directory" \
    "$BPTT" init --cell gru --inputs 2 --outputs 1 --hidden 4 --out folder.safetensors
fails 1 nowhere/m "init into a folder that is not there" \
    "$BPTT" init --cell gru --inputs 2 --outputs 1 --hidden 4 --out nowhere/m
finish
