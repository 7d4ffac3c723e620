# report.sh - bptt report: the page of healthy, exploding and vanishing runs, several on one page, pictures, bad input, and
# the page in a browser: nothing on its console, curves, values under a pointer, light and dark, narrow and wide.
# shellcheck shell=sh source=tap.sh
. "$TOP/tests/cli/tap.sh"
metrics()
{
    awk -f "$TOP/tests/run_metrics" "$@"
}
mkdir runs empty
metrics -v kind=healthy -v layers=2 > runs/healthy.safetensors.jsonl
metrics -v kind=exploding > runs/exploding.safetensors.jsonl
metrics -v kind=vanishing > runs/vanishing.safetensors.jsonl
metrics -v kind=plain -v steps=300 > plain.jsonl

# ---- one run ----
for kind in healthy exploding vanishing; do
    run "$BPTT" report runs/$kind.safetensors.jsonl --out $kind.html
    is_status 0 "the page of a run that is $kind"
    check "under 1 MiB" [ "$(wc -c < $kind.html)" -lt 1048576 ]
    check "which asks nothing of a network" sh -c "! sed 's,http://www.w3.org/[0-9a-z/]*,,g' $kind.html | grep -q 'https*://\|src=\"[^d]'"
done
check "healthy: the verdict" grep -q '<h3>Healthy</h3>' healthy.html
check "exploding: the verdict" grep -q '<h3>This run went wrong</h3>' exploding.html
check "exploding: what to try, at the top" grep -q 'no longer a number.*Try:.*<code>--clip</code> 1' exploding.html
check "exploding: warnings stand on the curves" grep -q 'class="mark".*step [0-9]*: The gradient norm has grown' exploding.html
check "vanishing: the verdict" grep -q '<h3>Look at this</h3>' vanishing.html
check "vanishing: said in words" grep -q 'The gradient vanishes: it falls below 1 % within [0-9] steps.*<code>--cell</code> lstm' vanishing.html
for id in loss loss-time norm rate lags lags-2 jacobian horizon saturation memory clipped ratio parameters schedule; do
    check "there is the picture $id" grep -q "id=\"$id\"" healthy.html
done
check "samples, as text" grep -q 'th aoe sat e hn' healthy.html
check "with signs of HTML as signs" grep -q 'ie a &lt;t&gt; &amp; oo' healthy.html
check "settings" grep -q '<th>optimizer</th><td>adam</td>' healthy.html
run "$BPTT" report plain.jsonl
is_status 0 "losses alone make a page too"
check "named after the run, here" [ -s plain.html ]
check "which says how to get the rest" grep -q 'The step Jacobian against 1.*<code>--watch</code> 100' plain.html
check "and where times come from" grep -q 'Loss against time.*hold no times' plain.html

# straight FILE NAME: whether the places of a curve lie on straight axes of its values, x to the right and y upwards
straight()
{
    grep "data-n=\"$2\"" "$1" | sed 's/.* d="M\([^"]*\)" data-v="\([^"]*\)".*/\1|\2/; s/[ML]/;/g' | awk -F'|' '
        { n = split($1, place, ";"); split($2, value, ",")
          for (i = 1; i <= n; i++) { split(place[i], p, " "); split(value[i], v, " "); x[i] = p[1]; y[i] = p[2]; a[i] = v[1]; b[i] = v[2] }
          low = high = 1
          for (i = 1; i <= n; i++) { if (b[i] < b[low]) low = i; if (b[i] > b[high]) high = i }
          right = (x[n] - x[1]) / (a[n] - a[1]); up = (y[low] - y[high]) / (b[high] - b[low])
          for (i = 1; i <= n; i++) {          # 0.1: places are written to one digit; values to four
              if (!((x[i] - x[1] - right * (a[i] - a[1])) ^ 2 <= 0.04) || !((y[low] - y[i] - up * (b[i] - b[low])) ^ 2 <= 0.09)) bad++ }
          exit !(n > 50 && right > 0 && up > 0 && !bad) }'
}
run "$BPTT" report runs/healthy.safetensors.jsonl --out healthy.html --svg one --quiet
check "steps grow to the right, losses upwards, both evenly" straight one/loss.svg training
darkest=$(grep 'class="h9"' one/lags.svg | sed 's/.* d="M[0-9.]* \([0-9.]*\)H.*/\1/')
check "lag 0, which all is measured by, is darkest and at the bottom" awk -v y="$darkest" 'BEGIN { exit !(y > 230) }'

# ---- several ----
run "$BPTT" report runs --out three.html --svg pictures
is_status 0 "a folder of runs on one page"
out_has "exploding: This run went wrong, step 1,841" "with a verdict for each"
check "a curve for each in one picture" [ "$(grep -o 'data-n="[a-z]* training"' three.html | sort -u | wc -l)" = 3 ]
check "in colours and dashes of their own" [ "$(grep -o '"line c[0-2] d1"[^>]*data-n="[a-z]* validation"' three.html | cut -c1-10 | sort -u | wc -l)" = 3 ]
check "settings that differ stand out" grep -q '<th>lr</th><td class="differs">' three.html
check "settings that do not, do not" grep -q '<th>batch</th><td>32</td>' three.html
check "pictures of their own, without variables of a page" sh -c '! grep -q "var(--" pictures/loss.svg pictures/lags.svg'
if command -v xmllint > /dev/null; then
    check "all well-formed" xmllint --noout pictures/*.svg
fi
metrics -v kind=healthy -v layers=4 -v steps=20000 > runs/long.jsonl
run "$BPTT" report runs --out four.html --json
is_status 0 "--json"
out_has '"verdict": "Look at this"' "says the verdicts"
check "a long run stays under 1 MiB" [ "$(wc -c < four.html)" -lt 1048576 ]
rm runs/long.jsonl

# ---- PNG ----
if command -v rsvg-convert > /dev/null; then
    run "$BPTT" report plain.jsonl --png png --quiet
    is_status 0 "--png"
    check "a PNG of each picture there is data for" [ "$(find png -name '*.png' | wc -l)" = 3 ]
fi
mkdir nothing
command_line="bptt report --png without a converter"
status=0
PATH=$PWD/nothing "$BPTT" report plain.jsonl --png png > out 2> err || status=$?
is_status 1 "--png without a converter"
err_has "none is here" "is told in a line"

# ---- bad input ----
run "$BPTT" report empty
is_status 1 "an empty folder"
err_has "empty: no run in this folder" "is told"
run "$BPTT" report nothing.safetensors
is_status 1 "no such run"
err_has "nothing.safetensors: no such run" "is told"
echo x > model.safetensors
run "$BPTT" report model.safetensors
err_has "no metrics beside it (model.safetensors.jsonl)" "a model without metrics is told"
: > nothing.jsonl
run "$BPTT" report nothing.jsonl
err_has "nothing.jsonl: empty" "empty metrics are told"
echo "a text" > text.jsonl
echo "not metrics" >> text.jsonl
run "$BPTT" report text.jsonl
err_has "no line of it is a JSON object" "a text is told"
echo '{"a": 1}' > other.jsonl
run "$BPTT" report other.jsonl
err_has "no line of it tells of a run" "JSON of something else is told"
head -c 20000 /dev/urandom > noise.jsonl
run "$BPTT" report noise.jsonl
is_status 1 "noise is no run"
run "$BPTT" report plain.jsonl --out missing/page.html
is_status 1 "a page that cannot be written"
err_has "missing/page.html: cannot write" "is told"
run "$BPTT" report plain.jsonl --svg missing/pictures
is_status 1 "pictures that cannot be written"
err_has "missing/pictures: cannot make the folder" "are told"

# A model that memorises
awk 'BEGIN { for (s = 1; s <= 400; s++) { printf "{\"step\":%d,\"loss\":%g}\n", s, 3 - s / 200
             if (s % 20 == 0) printf "{\"step\":%d,\"valid_loss\":%g}\n", s, s < 200 ? 3 - s / 200 : 2 + (s - 200) / 400 } }' > memory.jsonl
run "$BPTT" report memory.jsonl
check "validation that rises is seen" grep -q 'Validation was best at step 200 .*memorises its text' memory.html
head -n 2 memory.jsonl | sed 's/"loss":.*/"loss":900}/;1s/900/9/' > few.jsonl
run "$BPTT" report few.jsonl
check "few steps are not smoothed" grep -q 'data-v="1 9,2 900," data-n="training"' few.html
# A run that does not learn
awk 'BEGIN { for (s = 1; s <= 400; s++) printf "{\"step\":%d,\"loss\":%g}\n", s, 3 + 0.01 * (s % 3) }' > flat.jsonl
run "$BPTT" report flat.jsonl
check "a loss that does not fall is seen" grep -q 'The training loss has hardly fallen' flat.html

# A rate that throws a run far off, from where it comes back
awk 'BEGIN { for (s = 1; s <= 400; s++) printf "{\"step\":%d,\"loss\":%g}\n", s, 3 + (s > 100 && s < 300 ? 20 : 0) }' > thrown.jsonl
run "$BPTT" report thrown.jsonl
check "a loss that rose far above its start is seen" grep -q 'The training loss rose from 3 to 23 .*the learning rate is too high' thrown.html
check "and no higher rate is advised" sh -c '! grep -q "threefold" thrown.html'
# Saturation: a share that many runs live with, and nearly all
for share in 0.9 0.97; do
    {
        cat plain.jsonl
        echo '{"step":300,"warning":{"kind":"saturation","layer":0,"value":0.9,"limit":0.8,"text":"most of o","try":"this"}}'
        echo '{"step":300,"watch":{"layers":[{"lag":[1],"at":[0],"saturated":{"o":'$share'}}]}}'
    } > share-$share.jsonl
    run "$BPTT" report share-$share.jsonl
done
check "saturation of nine tenths is a note" grep -q '<h3>Healthy</h3>.*' share-0.9.html
check "of nearly all a finding" grep -q '<h3>Look at this</h3>' share-0.97.html
# Where a value was not finite
cat plain.jsonl > place.jsonl
echo '{"step":300,"warning":{"kind":"nonfinite","text":"not finite, in U h","try":"a","where":{"time":3,"layer":-1,"state":"","operation":"U h"}}}' >> place.jsonl
run "$BPTT" report place.jsonl
check "a place is told once" sh -c '! grep -q "First seen\|layer -1" place.html'
sed 's/, in U h"/"/' place.jsonl > where.jsonl
run "$BPTT" report where.jsonl
check "or added, as far as it is known" grep -q '>Not finite.*First seen at time step 3 of the window, in U h\.' where.html

{
    echo '{"run":{"version":7,"cell":"lstm","lr":"a text","length":-3,"gradient":"nonsense","batch":[1,[2]],"threads":null}}'
    sed '5,7s/"loss":/"loss"/' plain.jsonl
    echo '[1,2]'
    printf '\n  \n'
    echo '{"step":300,"loss":NaN}'
    echo '{"step":301,"loss":null,"norm":null}'
    echo '{"step":-4,"loss":"x","watch":{"layers":[{"lag":[null,0,"x"],"at":7,"saturated":{"f":null}},3],"parameters":[]}}'
    echo '{"step":400,"loss":2.5,"norm":0.5,"rate":1e-3,"seconds":-1e300}'
    echo '{"step":1e400,"watch":{},"warning":{},"sample":""}'
    echo '{"step":401,"warning":{"kind":"<b>","text":"<script>alert(1)</script>","try":7},"new":{}}'
    printf '{"step":402,"lo'
} > bad.jsonl
run "$BPTT" report bad.jsonl
is_status 0 "broken lines, NaN and gaps cost themselves alone"
check "and are counted" grep -q '>6 lines of the metrics could not be read (the first is line 6)' bad.html
check "the half-written one is told apart" grep -q 'The last line is half-written' bad.html
check "another version is told" grep -q 'These metrics are of version 7' bad.html
check "NaN is told" grep -q 'stopped being a number' bad.html
check "nothing of it runs" sh -c '! grep -q "<script>alert" bad.html'
check "no NaN in a picture" sh -c '! grep -q "[\"MLHV ]-*\(nan\|inf\)[ L\"]" bad.html'

# ---- while training ----
awk 'BEGIN { for (i = 0; i < 200; i++) print "line " i " of a small text, as plain as " i % 7 " can be." }' > book.txt
run "$BPTT" train book.txt --hidden 8 --batch 4 --length 16 --steps 40 --threads 1 --quiet --out kept.safetensors --report kept.html
is_status 0 "bptt train --report"
check "leaves the page of the run" grep -q 'steps, ended' kept.html
run "$BPTT" train book.txt --hidden 8 --batch 4 --length 16 --steps 40 --threads 1 --quiet --out kept.safetensors --report missing/kept.html
is_status 0 "a page that cannot be written costs no training"
err_has "missing/kept.html" "and is told"
run "$BPTT" train book.txt --hidden 8 --layers 2 --batch 4 --length 16 --steps 60 --threads 1 --quiet --watch 10 --out watched.safetensors
run "$BPTT" report watched.safetensors
for id in lags lags-2 jacobian horizon saturation memory clipped ratio parameters; do
    check "what --watch measures is drawn: $id" grep -q "id=\"$id\"" watched.html
done
check "every layer is among the parameters" grep -q 'data-n="layer 1"' watched.html
check "and the output layer" grep -q 'data-n="head"' watched.html
check "and nothing of it is missing" sh -c '! grep -q "<code>--watch</code>" watched.html'
run "$BPTT" report kept.safetensors
is_status 0 "a model stands for its run"

# ---- in a browser ----
browser=
for name in chromium chromium-browser google-chrome; do
    [ -n "$browser" ] || browser=$(command -v $name || :)
done
# show FILE WIDTH SCHEME OPTIONS...: SCHEME 0 dark, 1 light
show()
{
    page=$1 width=$2 scheme=$3
    shift 3
    timeout 60 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --user-data-dir="$PWD/profile" \
        --enable-logging=stderr --v=0 --virtual-time-budget=3000 --window-size="$width",1200 \
        --blink-settings=preferredColorScheme="$scheme" "$@" "file://$PWD/$page" 2> log
}
if [ -z "$browser" ] || ! show plain.html 400 1 --dump-dom > dom || ! grep -q '</html>' dom; then
    skip "the page in a browser" "no chromium that runs here"
    finish
    exit 0
fi
for scheme in 0 1; do
    for width in 380 1400; do
        show three.html "$width" "$scheme" --screenshot="$PWD/shot-$width-$scheme.png" > out
        check "width $width, scheme $scheme: nothing on the console" sh -c '! grep CONSOLE log'
        check "and it is drawn" [ -s "shot-$width-$scheme.png" ]
    done
done
check "dark is not light" sh -c '! cmp -s shot-1400-0.png shot-1400-1.png'
show 'healthy.html#hover=loss,0.6' 1400 1 --dump-dom > dom
check "curves are there" [ "$(grep -c 'path class="line' dom)" -gt 20 ]
check "a pointer on a curve is told its values" grep -q 'id="tip" style="display: block.*step [0-9]*<.*training [0-9.]*<.*validation [0-9.]*<' dom
check "and shown the place" [ "$(grep -o 'class="spot"' dom | wc -l)" = 3 ]
show 'healthy.html#hover=lags,0.6' 380 0 --dump-dom > dom
check "so is one on the heat map, on a phone" grep -q 'id="tip" style="display: block.*step [0-9]*, lag [0-9]*<.*of lag 0' dom
show 'healthy.html#width' 380 0 --dump-dom > dom
check "no wider than a phone" grep -q 'data-overflow="0"' dom
finish
