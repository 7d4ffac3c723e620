# terminal.sh - the progress bar on a terminal that script(1) makes: it fits the width, and colours can be refused.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
if ! command -v script > /dev/null || ! script -qec true /dev/null > /dev/null 2>&1 < /dev/null; then
    skip "the progress bar" "no script(1) to make a terminal with"
    finish
fi
awk 'BEGIN { for (i = 0; i < 200; i++) print "line " i " of a small text" }' > book.txt

# on_terminal COLUMNS VARIABLE=VALUE...: what a training run draws there, carriage returns as line ends
on_terminal()
{
    columns=$1
    shift
    command="stty cols $columns; env $* '$BPTT' train book.txt --hidden 64 --batch 4 --length 32 --minutes 0.015 --out m"
    TERM=xterm LC_ALL=C run script -qec "$command" /dev/null
    tr '\r' '\n' < out > drawn
    sed "s/$(printf '\033')\\[[0-9;]*[mK]//g" drawn > plain
}

on_terminal 60 NO_COLOR=
is_status 0 "training on a terminal"
check "draws a bar" grep -q '[#.]\{4,\} loss [0-9.]*' plain
check "in colour" grep -q "$(printf '\033')\\[36m" drawn
check "within 59 columns" sh -c "grep ' loss [0-9.]*' plain | grep '#\|\.\.\.' | awk 'length > 59 { exit 1 }'"
on_terminal 60 NO_COLOR=1
check "NO_COLOR: no colour" sh -c '! grep -q "\\[[0-9;]*m" drawn'
on_terminal 16 NO_COLOR=1
check "a narrow terminal: no line of the bar is wider" sh -c "grep '^[0-9]*/.*loss' plain | awk 'length > 15 { exit 1 }'"
on_terminal 60 TERM=dumb
check "TERM=dumb: plain lines" sh -c "grep -q '^step [0-9]' plain && ! grep -q '\\[K' drawn"
finish
