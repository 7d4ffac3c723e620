#!/bin/sh
# includes.sh - holds the direction of includes: a folder of src/ sees itself and the folders named here; the command line
# and the examples see bptt.h and nothing else of the library.
# shellcheck source=cli/tap.sh
. "$TOP/tests/cli/tap.sh"
cd "$TOP" || exit 1

allowed()
{
    case $1 in
    base) echo ;;
    cell | kernel | data) echo base ;;
    time) echo base cell kernel ;;
    model) echo base cell kernel time ;;
    file) echo base cell kernel time model ;;
    train) echo base cell kernel time model data file ;;
    study) echo base cell kernel time model data file train ;;
    *) echo nothing-is-known-about-this-folder ;;
    esac
}

# included FILE: the folders of src/ that the file includes from
included()
{
    sed -n 's,^ *# *include *"\([^"]*\)".*,\1,p' "$1" | while read -r path; do
        case $path in
        */include/bptt.h | bptt.h) ;;
        *) realpath -m --relative-to=src "$(dirname "$1")/$path" | cut -d/ -f1 ;;
        esac
    done | sort -u
}

for folder in src/*/; do
    name=$(basename "$folder")
    # shellcheck disable=SC2044
    for file in $(find "$folder" -name '*.[ch]' -o -name '*.def' -o -name '*.inc'); do
        bad=
        for other in $(included "$file"); do
            case " $(allowed "$name") $name " in *" $other "*) ;; *) bad="$bad $other" ;; esac
        done
        ok "$([ -z "$bad" ]; echo $?)" "$file includes only what stands below it" || echo "#   but includes from:$bad"
    done
done

for file in cli/*.[ch] examples/*.c; do
    [ -f "$file" ] || continue
    bad=$(sed -n 's,^ *# *include *"\([^"]*\)".*,\1,p' "$file" | grep -v '^[a-z_]*\.[ch]$')
    ok "$([ -z "$bad" ]; echo $?)" "$file sees only bptt.h and its own folder" || echo "#   but includes: $bad"
done
cd "$TMPDIR" || exit 1
finish
