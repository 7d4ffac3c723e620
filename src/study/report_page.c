/* report_page.c - the page: the verdict first, then numbers, pictures, what the data do not hold yet, samples and settings.
 * It is one file that asks nothing of the network. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"
#include "report.h"

/* ---- words ---- */

/* Control characters of a sample are no text of HTML. */
static void add_words(const char *text, struct text *out)
{
    for (; *text; text++) {
        char one = (unsigned char)*text < ' ' && *text != '\n' && *text != '\t' ? ' ' : *text;
        picture_escape(&one, 1, out);
    }
}

/* Words of a command line (--lr) stand together, as code. */
static void add_advice(const char *text, struct text *out)
{
    for (const char *at = text; *at;) {
        size_t plain = strncmp(at, "--", 2) ? 1 : 0, length = plain ? 1 : strspn(at, "-abcdefghijklmnopqrstuvwxyz");
        while (plain && at[length] && strncmp(at + length, "--", 2))
            length++;
        text_add(out, plain ? "" : "<code>");
        picture_escape(at, length, out);
        text_add(out, plain ? "" : "</code>");
        at += length;
    }
}

static void add_element(const char *tag, const char *words, struct text *out)
{
    text_printf(out, "<%s>", tag);
    add_words(words, out);
    text_printf(out, "</%.*s>\n", (int)strcspn(tag, " "), tag);
}

/* ---- the verdict ---- */

static void add_finding(const struct finding *finding, struct text *out)
{
    text_printf(out, "<li class=\"level%d\">", finding->level);
    add_advice(finding->text, out);
    if (finding->advice[0]) {
        text_add(out, "<span class=\"try\"><b>Try:</b> ");
        add_advice(finding->advice, out);
        text_add(out, "</span>");
    }
    text_add(out, "</li>\n");
}

static double best_valid(const struct run *run)
{
    double best = NAN;
    for (size_t i = 0; i < run->valids; i++)
        best = fmin(best, run->valid[i].loss); /* fmin takes the number where the other is none */
    return best;
}

/* The mean of the last fortieth, of what is finite. */
static double last_loss(const struct run *run)
{
    double sum = 0, count = 0;
    for (size_t i = run->rows; i > 0 && (i + run->rows / 40 >= run->rows || count == 0); i--)
        if (isfinite(run->row[i - 1].loss)) {
            sum += run->row[i - 1].loss;
            count++;
        }
    return sum / count;
}

/* What a healthy run says of itself. */
static void add_health(const struct run *run, struct text *out)
{
    double first = run->rows ? run->row[0].loss : NAN, last = last_loss(run), best = best_valid(run);
    if (isfinite(first) && isfinite(last))
        text_printf(out, "<p>The training loss went from %.4g to %.4g nats per symbol", first, last);
    else
        text_add(out, "<p>There are no training losses to go by yet");
    if (isfinite(best))
        text_printf(out, ", the best validation loss is %.4g (%.3g bits)", best, best / M_LN2);
    text_add(out, run->watch.count ? ". Gradients were watched on the way.</p>\n"
                                   : ". Gradients through time were not watched (--watch 100 would).</p>\n");
}

static void add_verdict(const struct run *run, size_t count, struct text *out)
{
    static const char *const look[] = {"good", "look", "bad"};
    struct findings findings;
    findings_of(run, &findings);
    out->failed |= findings.failed;
    text_printf(out, "<section class=\"verdict %s\"><h3>", look[findings.level]);
    if (count > 1) {
        add_words(run->name, out);
        text_add(out, ": ");
    }
    text_printf(out, "%s</h3>\n", findings_verdict(&findings));
    add_health(run, out);
    text_add(out, findings.count ? "<ul>\n" : "");
    for (int level = FINDING_BAD; level >= FINDING_NOTE; level--)
        for (size_t i = 0; i < findings.count; i++)
            if (findings.item[i].level == level)
                add_finding(&findings.item[i], out);
    text_add(out, findings.count ? "</ul>\n" : "");
    text_add(out, "</section>\n");
    findings_clear(&findings);
}

/* ---- numbers ---- */

static void add_tile(const char *what, struct text *out, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void add_tile(const char *what, struct text *out, const char *format, ...)
{
    char value[64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    text_printf(out, "<div class=\"tile\"><b>%s</b><span>%s</span></div>\n", value, what);
}

static const char *state_of(const struct run *run)
{
    return !strcmp(run->end, "done") ? "steps, ended" : !strcmp(run->end, "interrupted") ? "steps, then interrupted"
         : !strcmp(run->end, "diverged") ? "steps, then it diverged" : "steps so far";
}

static void add_time(double seconds, struct text *out)
{
    if (seconds >= 3600)
        add_tile("of training", out, "%.0f h %02.0f min", floor(seconds / 3600), floor(fmod(seconds, 3600) / 60));
    else if (seconds >= 60)
        add_tile("of training", out, "%.0f min %02.0f s", floor(seconds / 60), floor(fmod(seconds, 60)));
    else if (seconds >= 0)
        add_tile("of training", out, "%.3g s", seconds);
}

static void add_tiles(const struct run *run, struct text *out)
{
    double loss = last_loss(run), best = best_valid(run), parameters = run_setting(run, "parameters");
    text_add(out, "<div class=\"tiles\">\n");
    add_tile(state_of(run), out, "%lld", (long long)run->last_step);
    if (isfinite(loss)) {
        add_tile("training loss, nats per symbol", out, "%.4g", loss);
        add_tile("training, bits per symbol", out, "%.3g", loss / M_LN2);
    }
    if (isfinite(best))
        add_tile("best validation loss (nats)", out, "%.4g", best);
    if (run->rows)
        add_time(run->row[run->rows - 1].seconds, out);
    if (parameters > 0)
        add_tile("parameters", out, "%s", say_number(parameters).text);
    text_add(out, "</div>\n");
}

/* ---- pictures ---- */

/* What stands in an address: data: takes text with few letters written as numbers. */
static void add_address(const char *svg, struct text *out)
{
    text_add(out, "data:image/svg+xml,");
    for (; *svg; svg++)
        if (strchr("%#<>\"&\n", *svg))
            text_printf(out, "%%%02X", (unsigned)*svg);
        else
            text_append(out, svg, 1);
}

static void add_card(const struct chart *chart, size_t points, struct text *out)
{
    text_add(out, "<article class=\"card\">");
    add_element("h3", chart->title, out);
    text_add(out, "<p>");
    add_advice(chart->about, out);
    text_add(out, "</p>\n");
    chart_svg(chart, 0, points, out);
    text_add(out, "</article>\n");
}

static void add_wide(const struct chart *chart, struct text *out)
{
    text_add(out, "<section>");
    add_element("h2", chart->title, out);
    add_element("p class=\"soft small\"", chart->about, out);
    text_printf(out, "<div class=\"wide\"><img id=\"%s\" alt=\"", chart->id);
    add_words(chart->title, out);
    text_add(out, "\" src=\"");
    add_address(chart->svg, out);
    text_add(out, "\"></div></section>\n");
}

static void add_pictures(const struct charts *charts, size_t points, struct text *out)
{
    text_add(out, "<h2>Pictures</h2><div class=\"cards\">\n");
    for (size_t i = 0; i < charts->count; i++)
        if (!charts->chart[i].svg && !chart_is_empty(&charts->chart[i]))
            add_card(&charts->chart[i], points, out);
    text_add(out, "</div>\n");
    for (size_t i = 0; i < charts->count; i++)
        if (charts->chart[i].svg)
            add_wide(&charts->chart[i], out);
}

static void add_absent(const struct charts *charts, int has_samples, struct text *out)
{
    int begun = 0;
    for (size_t i = 0; i <= charts->count; i++) {
        const struct chart *chart = i < charts->count ? &charts->chart[i] : NULL;
        if (chart ? !chart_is_empty(chart) || !chart->missing[0] : has_samples)
            continue;
        text_add(out, begun++ ? "" : "<h2>Not in these runs</h2><ul class=\"absent soft small\">\n");
        text_add(out, "<li><b>");
        add_words(chart ? chart->title : "Samples", out);
        text_add(out, ".</b> ");
        add_advice(chart ? chart->missing : "Text models write one at each validation when trained with --sample-every N.",
                   out);
        text_add(out, "</li>\n");
    }
    text_add(out, begun ? "</ul>\n" : "");
}

/* ---- samples ---- */

static void add_samples(const struct run *run, size_t count, struct text *out)
{
    enum { SHOWN = 9 };
    size_t n = run->samples.count, shown = n < SHOWN ? n : SHOWN;
    if (!n)
        return;
    text_add(out, "<h2>Samples as they improved");
    if (count > 1) {
        text_add(out, ": ");
        add_words(run->name, out);
    }
    text_add(out, "</h2><div class=\"samples\">\n");
    for (size_t i = 0; i < shown; i++) {
        const json_t *line = run->samples.line[shown > 1 ? i * (n - 1) / (shown - 1) : 0];
        text_printf(out, "<article class=\"card\"><h3>Step %lld</h3>", (long long)line_step(line));
        add_element("pre", json_string_value(json_object_get(line, "sample")), out);
        text_add(out, "</article>\n");
    }
    text_add(out, "</div>\n");
}

/* ---- settings ---- */

static void add_value(const json_t *value, struct text *out)
{
    if (json_is_string(value))
        add_words(json_string_value(value), out);
    else if (json_is_number(value))
        text_printf(out, "%.10g", json_number_value(value));
    else if (json_is_boolean(value))
        text_add(out, json_is_true(value) ? "yes" : "no");
    for (size_t i = 0; i < json_array_size(value); i++) {
        text_add(out, i ? ", " : "");
        add_value(json_array_get(value, i), out);
    }
}

static int differs(const struct run *runs, size_t count, const char *key)
{
    for (size_t r = 1; r < count; r++)
        if (runs[r].about && runs[0].about &&
            !json_equal(json_object_get(runs[0].about, key), json_object_get(runs[r].about, key)))
            return 1;
    return 0;
}

static void add_setting(const struct run *runs, size_t count, const char *key, struct text *out)
{
    const char *style = differs(runs, count, key) ? " class=\"differs\"" : "";
    text_add(out, "<tr><th>");
    add_words(key, out);
    text_add(out, "</th>");
    for (size_t r = 0; r < count; r++) {
        text_printf(out, "<td%s>", style);
        add_value(json_object_get(runs[r].about, key), out);
        text_add(out, "</td>");
    }
    text_add(out, "</tr>\n");
}

/* Every key once, in the order in which runs bring them. */
static void add_keys(const struct run *runs, size_t count, struct text *out)
{
    const char *key;
    json_t *value;
    for (size_t r = 0; r < count; r++)
        json_object_foreach(runs[r].about, key, value) {
            int is_known = 0;
            for (size_t before = 0; before < r; before++)
                is_known |= json_object_get(runs[before].about, key) != NULL;
            if (!is_known && !json_is_object(value))
                add_setting(runs, count, key, out);
        }
}

static void add_settings(const struct run *runs, size_t count, struct text *out)
{
    int known = 0;
    for (size_t r = 0; r < count; r++)
        known |= runs[r].about != NULL;
    text_add(out, "<h2>Configuration</h2>\n");
    if (!known) {
        text_add(out, "<p class=\"soft small\">These metrics do not hold it: runs of this version of bptt train write it "
                      "first.</p>\n");
        return;
    }
    text_add(out, "<div class=\"table\"><table>\n");
    if (count > 1) {
        text_add(out, "<tr><th></th>");
        for (size_t r = 0; r < count; r++)
            add_element("th", runs[r].name, out);
        text_add(out, "</tr>\n");
    }
    add_keys(runs, count, out);
    text_add(out, "</table></div>\n");
}

/* ---- the whole ---- */

static void add_title(const struct run *runs, size_t count, struct text *out)
{
    for (size_t r = 0; r < count; r++) {
        text_add(out, r ? ", " : "");
        add_words(runs[r].name, out);
    }
}

static void open_page(const struct run *runs, size_t count, struct text *out)
{
    text_add(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<link rel=\"icon\" "
                  "href=\"data:,\">\n<title>");
    add_title(runs, count, out);
    text_printf(out, " - bptt report</title>\n<style>%s", report_page_style);
    chart_style(0, out);
    text_add(out, "</style></head>\n<body><main>\n<h1>");
    add_title(runs, count, out);
    text_printf(out,
                "</h1>\n<p class=\"soft small\">How the training of %s went: %s trained by backpropagation through "
                "time.</p>\n",
                count > 1 ? "these runs" : "this run", count > 1 ? "recurrent networks" : "a recurrent network");
}

void page_write(const struct run *runs, size_t count, const struct charts *charts, size_t points, struct text *out)
{
    int has_samples = 0;
    open_page(runs, count, out);
    for (size_t r = 0; r < count; r++) {
        add_verdict(&runs[r], count, out);
        if (count == 1)
            add_tiles(&runs[r], out);
        has_samples |= runs[r].samples.count > 0;
    }
    add_pictures(charts, points, out);
    add_absent(charts, has_samples, out);
    for (size_t r = 0; r < count; r++)
        add_samples(&runs[r], count, out);
    add_settings(runs, count, out);
    text_printf(out,
                "<footer class=\"soft small\">Drawn by bptt %s (<code>bptt report</code>). Point at a curve to read its "
                "values.</footer>\n"
                "</main><div id=\"tip\"></div>\n<script>\n%s</script></body></html>\n",
                bptt_version(), report_script);
}
