# help.sh - every command explains itself, and what is typed wrong is answered with what was meant.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"

run "$BPTT"
is_status 2 "bptt alone is wrong usage"
err_has "bptt train book.txt" "and shows how to begin"
run "$BPTT" --help
is_status 0 "bptt --help"
cp out commands
run "$BPTT" --version
is_status 0 "bptt --version"
out_has "bptt $(sed -n 's/^.define BPTT_VERSION "\(.*\)"/\1/p' "$TOP/include/bptt.h")" "it is the header's version"

for command in train eval sample init run grad check cells cell plan horizon compare inspect bench; do
    check "bptt --help lists $command" grep -q "^  $command " commands
    run "$BPTT" "$command" --help
    is_status 0 "bptt $command --help"
    out_has "Usage: bptt $command" "it begins with the usage"
    out_has "--json" "$command has --json"
    out_has "Examples" "$command has examples"
    check "no line is longer than 120" sh -c '! grep -q ".\{121\}" out'
    check "nothing on standard error" [ ! -s err ]
    fails 2 "bptt $command: unknown option --jsn; did you mean --json?" "$command names the nearest option" \
        "$BPTT" "$command" --jsn
done

run "$BPTT" help train
out_has "Usage: bptt train" "bptt help train"
fails 2 "bptt: unknown command tarin; did you mean train?" "the nearest command" "$BPTT" tarin
fails 2 "bptt: unknown command frobnicate; bptt --help lists them" "no command is near" "$BPTT" frobnicate
finish
