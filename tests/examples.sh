#!/bin/sh
# examples.sh - the installed bptt, used as a stranger would: pkg-config, every example compiled and run, the header from
# C++, and the example at the top of bptt.h held to be examples/train.c.
# shellcheck source=cli/tap.sh
. "$TOP/tests/cli/tap.sh"
installed=$BUILD/installed
export PKG_CONFIG_PATH="$installed/lib/pkgconfig"

check "the installed program runs" "$installed/bin/bptt" --version
run pkg-config --modversion bptt
is_status 0 "pkg-config knows bptt"

sed -n '/^ \*     #include <bptt.h>/,/^ \*     }$/s/^ \*     //p; s/^ \*$//p' "$TOP/include/bptt.h" |
    sed '/^}$/q' | sed '/./,$!d' > header.c
sed '/^#include <bptt.h>/,$!d' "$TOP/examples/train.c" > example.c
run diff header.c example.c
is_status 0 "the example in bptt.h is examples/train.c" || explain

# The folders and texts that a reader of the examples has around.
for entry in "$TOP"/*; do
    case $entry in */build) ;; *) ln -s "$entry" . ;; esac
done
for example in "$TOP"/examples/*.c; do
    name=$(basename "$example" .c)
    # shellcheck disable=SC2046
    run "$CC" -std=c17 -Wall -Wextra -Werror -o "$TMPDIR/$name-static" "$example" -I"$installed/include" \
        "$installed/lib/libbptt.a" $(pkg-config --static --libs bptt)
    is_status 0 "examples/$name.c compiles without a warning, static" || continue
    # shellcheck disable=SC2046
    run "$CC" -std=c17 -o "$TMPDIR/$name" "$example" $(pkg-config --cflags --libs bptt)
    is_status 0 "examples/$name.c compiles, shared"
    run env LD_LIBRARY_PATH="$installed/lib" "$TMPDIR/$name"
    is_status 0 "examples/$name.c runs"
done

echo '#include <bptt.h>
int main() { return bptt_version()[0] == 0; }' > user.cc
if command -v c++ > /dev/null; then
    # shellcheck disable=SC2046
    run c++ -Wall -Wextra -Werror -o user user.cc $(pkg-config --cflags --libs bptt)
    is_status 0 "a C++ program includes bptt.h and links"
else
    skip "a C++ program includes bptt.h and links" "no C++ compiler"
fi

nm -g --defined-only "$installed/lib/libbptt.a" | awk 'NF == 3 && $3 !~ /^bptt_/ { print $3 }' > strangers
check "the installed archive shows only names that begin with bptt_" [ ! -s strangers ]
finish
