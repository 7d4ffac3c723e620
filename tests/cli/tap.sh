# tap.sh - what the shell tests share: run the program once, then look at what it said. Each check is one line of TAP.
#
#     . "$TOP/tests/cli/tap.sh"
#     run "$BPTT" sample nothing.safetensors      # keeps $status, and the files out and err
#     is_status 1 "a missing model fails"
#     err_has "nothing.safetensors" "and the message names it"
#     finish
#
# A check that fails prints what the last run was and said.
# shellcheck shell=sh
tests=0
failures=0
status=0
command_line=

run()
{
    command_line=$*
    status=0
    "$@" > out 2> err < /dev/null || status=$?
}

# ok CONDITION_STATUS NAME
ok()
{
    tests=$((tests + 1))
    ok_name=$(printf '%s' "$2" | tr '#\n' ': ')
    if [ "$1" = 0 ]; then
        echo "ok $tests - $ok_name"
        return 0
    fi
    failures=$((failures + 1))
    echo "not ok $tests - $ok_name"
    return 1
}

# What the last run was and said, as a diagnostic.
explain()
{
    echo "# $command_line"
    echo "# exit status $status; standard output, then standard error:"
    head -n 20 out | sed 's/^/#   /'
    head -n 20 err | sed 's/^/#   /'
    return 1
}

# check NAME COMMAND...: passes when the command succeeds
check()
{
    check_name=$1
    shift
    check_status=0
    "$@" > /dev/null 2>&1 || check_status=1
    ok "$check_status" "$check_name" || explain
}

is_status() { check "$2" [ "$status" = "$1" ]; }
out_has() { check "$2" grep -qF -e "$1" out; }
err_has() { check "$2" grep -qF -e "$1" err; }
out_lacks() { check "$2" sh -c '! grep -qF -e "$1" out' - "$1"; }
err_is() { check "$2" [ "$(cat err)" = "$1" ]; }
one_line() { check "$1" [ "$(wc -l < err)" = 1 ]; }

# fails STATUS TEXT NAME COMMAND...: bad input gets that status, nothing on standard output, and one line that holds TEXT
fails()
{
    fails_status=$1 fails_text=$2 fails_name=$3
    shift 3
    run "$@"
    fails_bad=0
    [ "$status" = "$fails_status" ] || fails_bad=1
    [ "$(wc -l < err)" = 1 ] || fails_bad=1
    [ ! -s out ] || fails_bad=1
    grep -qF -e "$fails_text" err || fails_bad=1
    ok "$fails_bad" "$fails_name" && return
    echo "# wanted: exit status $fails_status and one line with: $fails_text"
    explain
}

# npy FILE TYPE SHAPE BYTES: an array as NumPy writes it; BYTES as printf wants them
npy()
{
    npy_header="{'descr': '$2', 'fortran_order': False, 'shape': $3, }"
    while [ $(((${#npy_header} + 11) % 64)) != 0 ]; do npy_header="$npy_header "; done
    npy_length=$((${#npy_header} + 1))
    # shellcheck disable=SC2059
    {
        printf '\223NUMPY\001\000'
        printf "\\$(printf %o $((npy_length % 256)))\\$(printf %o $((npy_length / 256)))"
        printf '%s\n' "$npy_header"
        printf "$4"
    } > "$1"
}

skip()
{
    tests=$((tests + 1))
    echo "ok $tests - $1 # SKIP $2"
}

finish()
{
    echo "1..$tests"
    [ "$failures" = 0 ] && [ "$tests" -gt 0 ]
    exit
}
