/* picture.c - an unrolled graph as SVG: the marks are those of D2L 9.7.2's figure, boxes for variables, shaded boxes for
 * parameters, circles for operators. place.c says where they stand. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/text.h"
#include "picture.h"
#include "place.h"

enum { LEAST_WIDTH = 680, HALF_BOX = BOX_HEIGHT / 2, BAR = 22, LEGEND = 62 };

struct picture {
    const bptt_graph *graph;
    struct placing place;
    struct text *out;
};

static const double radian = 0.017453292519943295;

static const struct bptt_graph_node *node_at(const struct picture *p, long node)
{
    return &p->graph->node[node];
}

static const struct spot *spot_at(const struct picture *p, long node)
{
    return &p->place.spot[node];
}

/* ---- words ---- */

void picture_escape(const char *text, size_t length, struct text *out)
{
    for (size_t i = 0; i < length; i++) {
        const char *name = text[i] == '<'   ? "&lt;"
                           : text[i] == '>' ? "&gt;"
                           : text[i] == '&' ? "&amp;"
                           : text[i] == '"' ? "&quot;"
                                            : NULL;
        if (name)
            text_add(out, name);
        else
            text_append(out, text + i, 1);
    }
}

static void add_lowered(const struct picture *p, const char *text, size_t length, const char *more)
{
    if (length == 0 && !*more)
        return;
    text_add(p->out, "<tspan class=\"sub\" dy=\"4\">");
    picture_escape(text, length, p->out);
    text_printf(p->out, "%s%s</tspan><tspan dy=\"-4\">&#8203;</tspan>", length && *more ? "," : "", more);
}

/* "W_i" as W with a lowered i; `more` joins what is lowered. */
static void add_name(const struct picture *p, const char *name, size_t length, const char *more)
{
    const char *line = memchr(name, '_', length);
    size_t base = line && line > name ? (size_t)(line - name) : length;
    picture_escape(name, base, p->out);
    add_lowered(p, name + base + (base < length), length - base - (base < length), more);
}

/* Names with commas between. */
static void add_names(const struct picture *p, const char *names, size_t most)
{
    size_t used = 0;
    for (const char *at = names; *at;) {
        size_t length = strcspn(at, ",");
        if (used + length > most) {
            text_add(p->out, "…");
            return;
        }
        add_name(p, at, length, "");
        used += length + 2;
        at += length + (at[length] ? 2 : 0);
        text_add(p->out, *at ? ", " : "");
    }
}

static void add_label(const struct picture *p, long node)
{
    const bptt_graph_node *n = node_at(p, node);
    char step[24] = "";
    if (n->step || n->role == BPTT_ROLE_INITIAL)
        snprintf(step, sizeof step, "%lld", (long long)n->step);
    if (n->kind == BPTT_PARAMETER)
        add_names(p, n->name, 1000);
    else if (n->kind == BPTT_OPERATOR)
        picture_escape(n->name, strlen(n->name), p->out);
    else
        add_name(p, n->name, strlen(n->name), step);
}

/* ---- nodes ---- */

static void draw_box(const struct picture *p, long node, const char *style)
{
    const struct spot *s = spot_at(p, node);
    const char *about = node_at(p, node)->about;
    text_printf(p->out, "<g><rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"3\"/>", style,
                s->x - s->width / 2, s->y - HALF_BOX, s->width, BOX_HEIGHT);
    text_printf(p->out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\">", s->x, s->y + 5);
    add_label(p, node);
    text_add(p->out, "</text>");
    if (*about) {
        text_add(p->out, "<title>");
        picture_escape(about, strlen(about), p->out);
        text_add(p->out, "</title>");
    }
    text_add(p->out, "</g>\n");
}

/* The sign of an operator, smaller where it is long; beside it the name of its value. */
static void draw_circle(const struct picture *p, long node)
{
    const bptt_graph_node *n = node_at(p, node);
    const struct spot *s = spot_at(p, node);
    int size = strlen(n->name) > 6 ? 8 : strlen(n->name) > 3 ? 12 : 16;
    text_printf(p->out, "<circle class=\"operator\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"/>", s->x, s->y, OPERATOR_RADIUS);
    text_printf(p->out, "<text class=\"sign\" style=\"font-size:%dpx\" x=\"%.1f\" y=\"%.1f\">", size, s->x, s->y + size * 0.35);
    add_label(p, node);
    text_add(p->out, "</text>\n");
    if (!*n->about)
        return;
    text_printf(p->out, "<text class=\"value\" x=\"%.1f\" y=\"%.1f\">", s->x + OPERATOR_RADIUS - 1, s->y - 13);
    add_name(p, n->about, strlen(n->about), "");
    text_add(p->out, "</text>\n");
}

static void draw_nodes(const struct picture *p)
{
    for (long n = 0; n < (long)p->graph->nodes; n++) {
        const bptt_graph_node *node = node_at(p, n);
        if (node->kind == BPTT_OPERATOR)
            draw_circle(p, n);
        else
            draw_box(p, n, node->kind == BPTT_PARAMETER ? "parameter" : "variable");
    }
}

/* ---- rails: parameters, the same for all steps ---- */

static void draw_rail(const struct picture *p, long node, double last)
{
    const struct spot *s = spot_at(p, node);
    text_printf(p->out, "<path class=\"tie\" d=\"M%.1f %.1fH%.1f\"/>\n", s->x + s->width / 2, s->y, last);
}

static void draw_dot(const struct picture *p, double x, double y)
{
    text_printf(p->out, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n", x, y);
}

static void draw_rails(const struct picture *p)
{
    const struct placing *place = &p->place;
    for (int i = 0; i < place->items; i++) {
        const struct item *item = &place->item[i];
        if (!item->foot || node_at(p, item->node)->kind != BPTT_PARAMETER)
            continue;
        draw_rail(p, item->node, block_left(place, p->graph->steps) + item->x);
        for (int64_t t = 1; t <= p->graph->steps; t++)
            draw_dot(p, block_left(place, t) + item->x, spot_at(p, item->node)->y);
    }
}

static void draw_head_rail(const struct picture *p)
{
    double last = 0, y = 0, sine = sin(50 * radian), cosine = cos(50 * radian);
    long weights = 0;
    for (long n = 0; n < (long)p->graph->nodes; n++) {
        weights = node_at(p, n)->role == BPTT_ROLE_HEAD_WEIGHTS ? n : weights;
        if (node_at(p, n)->role != BPTT_ROLE_HEAD)
            continue;
        const struct spot *head = spot_at(p, n);
        double x = head->x - 30, end = head->x - OPERATOR_RADIUS * sine, end_y = head->y + OPERATOR_RADIUS * cosine;
        y = spot_at(p, weights)->y;
        text_printf(p->out, "<path class=\"tie\" marker-end=\"url(#tie)\" d=\"M%.1f %.1fQ%.1f %.1f %.1f %.1f\"/>\n", x, y, x,
                    end_y + 10, end, end_y);
        draw_dot(p, x, y);
        last = x;
    }
    draw_rail(p, weights, last);
}

/* ---- lines of a step ---- */

struct point { double x, y; };

/* Where a line ends, and the point from which it comes there. */
static void find_end(const struct picture *p, const struct line *line, double left, struct point *end, struct point *pull)
{
    const struct item *to = &p->place.item[line->to];
    double x = left + to->x, y = level_y(&p->place, to->level), sine = sin(line->turn * radian),
           cosine = cos(line->turn * radian);
    *end = to->is_bend ? (struct point){x, y} : (struct point){x + OPERATOR_RADIUS * sine, y + OPERATOR_RADIUS * cosine};
    *pull = (struct point){end->x + 24 * sine, end->y + 24 * cosine};
}

static double weight_before(const struct picture *p, int64_t step)
{
    return step > 1 ? p->graph->link[step - 2] : 1;
}

static const char *style_of(const struct picture *p, const bptt_graph_node *from, int64_t step)
{
    if (from->kind == BPTT_PARAMETER)
        return "tie";
    return from->role == BPTT_ROLE_INITIAL && weight_before(p, step) == 0 ? "cut" : "flow";
}

static void draw_upwards(const struct picture *p, const struct line *line, int64_t step)
{
    const struct item *from = &p->place.item[line->from];
    const bptt_graph_node *node = node_at(p, from->node);
    const char *style = style_of(p, node, step);
    double left = block_left(&p->place, step), x = left + from->x, y = level_y(&p->place, from->level);
    struct point end, pull;
    find_end(p, line, left, &end, &pull);
    if (!from->is_bend && !from->foot)
        y -= node->kind == BPTT_OPERATOR ? OPERATOR_RADIUS : HALF_BOX;
    text_printf(p->out, "<path class=\"%s\"", style);
    if (!p->place.item[line->to].is_bend)
        text_printf(p->out, " marker-end=\"url(#%s)\"", style);
    text_add(p->out, " d=\"");
    if (from->foot)
        text_printf(p->out, "M%.1f %.1fV%.1f", x, spot_at(p, from->node)->y, y);
    else
        text_printf(p->out, "M%.1f %.1f", x, y);
    text_printf(p->out, "C%.1f %.1f %.1f %.1f %.1f %.1f\"/>\n", x, y - (y - end.y) * 0.5, pull.x, pull.y, end.x, end.y);
}

/* ---- lines through time: from a state to the operators of the next step ---- */

static void begin_link(const struct picture *p, int64_t step, int has_end)
{
    const char *style = weight_before(p, step) == 0 ? "cut" : "flow";
    text_printf(p->out, "<path class=\"%s\"", style);
    if (has_end)
        text_printf(p->out, " marker-end=\"url(#%s)\"", style);
    text_add(p->out, " d=\"");
}

static int goes_straight(const struct picture *p, const struct line *line, const struct spot *state)
{
    return line->aside && (!p->graph->detail || fabs(state->y - level_y(&p->place, p->place.item[line->to].level)) < 2);
}

static void link_straight(const struct picture *p, const struct spot *state, double x, double y)
{
    double begin = state->x + state->width / 2, turn = (state->y - y) * 0.5;
    turn = (turn > 50 ? 50 : turn < -50 ? -50 : turn) * radian;
    double end = x - OPERATOR_RADIUS * cos(turn), end_y = y + OPERATOR_RADIUS * sin(turn);
    text_printf(p->out, "M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f\"/>\n", begin, state->y, begin + 16, state->y,
                end - 14 * cos(turn), end_y + 14 * sin(turn), end, end_y);
}

static void link_aside(const struct picture *p, const struct spot *state, double x, double y)
{
    int down = y > state->y ? 1 : -1;
    text_printf(p->out, "M%.1f %.1fV%.1fQ%.1f %.1f %.1f %.1fH%.1f\"/>\n", state->x, state->y + down * HALF_BOX, y - down * 12,
                state->x, y, state->x + 12, y, x - OPERATOR_RADIUS);
}

/* Down to below the operator, and up to it from there; a state that stands lower goes up to it. */
static void link_below(const struct picture *p, const struct spot *state, const struct line *line, double left)
{
    struct point end, pull;
    find_end(p, line, left, &end, &pull);
    double turn = level_y(&p->place, p->place.item[line->to].level) + 20;
    if (state->y + HALF_BOX < turn)
        text_printf(p->out, "M%.1f %.1fV%.1fC%.1f %.1f %.1f %.1f %.1f %.1f\"/>\n", state->x, state->y + HALF_BOX, turn,
                    state->x, turn + 32, pull.x, pull.y + 8, end.x, end.y);
    else
        text_printf(p->out, "M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f\"/>\n", state->x + state->width / 2, state->y,
                    state->x + state->width / 2 + 24, state->y, pull.x, pull.y, end.x, end.y);
}

static void draw_link(const struct picture *p, const struct line *line, int64_t step)
{
    const struct item *to = &p->place.item[line->to];
    const struct spot *state = spot_at(p, state_before(&p->place, p->place.item[line->from].node, step));
    double left = block_left(&p->place, step), x = left + to->x, y = level_y(&p->place, to->level);
    begin_link(p, step, !to->is_bend);
    if (goes_straight(p, line, state))
        link_straight(p, state, x, y);
    else if (line->aside)
        link_aside(p, state, x, y);
    else
        link_below(p, state, line, left);
}

static int is_from_state(const struct picture *p, const struct line *line)
{
    const struct item *from = &p->place.item[line->from];
    return from->foot && node_at(p, from->node)->role == BPTT_ROLE_INITIAL;
}

static void draw_lines(const struct picture *p)
{
    for (int64_t t = 1; t <= p->graph->steps; t++)
        for (int i = 0; i < p->place.lines; i++) {
            if (is_from_state(p, &p->place.line[i]))
                draw_link(p, &p->place.line[i], t);
            else
                draw_upwards(p, &p->place.line[i], t);
        }
}

/* ---- lines between rows ---- */

static void draw_result(const struct picture *p, const struct spot *maker, const struct spot *made)
{
    double end = made->x - made->width / 2, right = maker->x + OPERATOR_RADIUS, y = maker->y - OPERATOR_RADIUS;
    text_add(p->out, "<path class=\"flow\" marker-end=\"url(#flow)\" d=\"");
    if (fabs(maker->y - made->y) < 2)
        text_printf(p->out, "M%.1f %.1fH%.1f\"/>\n", right, maker->y, end);
    else if (!p->graph->detail)
        text_printf(p->out, "M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f\"/>\n", right, maker->y, right + 18, maker->y, end - 18,
                    made->y, end, made->y);
    else
        text_printf(p->out, "M%.1f %.1fQ%.1f %.1f %.1f %.1fH%.1f\"/>\n", maker->x, y, maker->x, made->y, maker->x + 14, made->y,
                    end);
}

static void draw_up(const struct picture *p, const struct spot *from, double above, const struct spot *to, double below)
{
    text_printf(p->out, "<path class=\"flow\" marker-end=\"url(#flow)\" d=\"M%.1f %.1fV%.1f\"/>\n", from->x, from->y - above,
                to->y + below);
}

static void draw_target(const struct picture *p, const struct spot *target, const struct spot *loss)
{
    text_printf(p->out, "<path class=\"flow\" marker-end=\"url(#flow)\" d=\"M%.1f %.1fH%.1f\"/>\n",
                target->x + target->width / 2, target->y, loss->x - OPERATOR_RADIUS);
}

static void draw_sum(const struct picture *p, int64_t step, const struct spot *loss, const struct spot *mean)
{
    double steps = (double)p->graph->steps, apart = steps > 5 ? 140 / (steps - 1) : 35,
           turn = apart * ((double)step - (steps + 1) / 2) * radian;
    double x = mean->x + OPERATOR_RADIUS * sin(turn), y = mean->y + OPERATOR_RADIUS * cos(turn), top = loss->y - HALF_BOX;
    text_printf(p->out, "<path class=\"flow\" marker-end=\"url(#flow)\" d=\"M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f\"/>\n",
                loss->x, top, loss->x, top - 26, x + 30 * sin(turn), y + 22 * cos(turn), x, y);
}

static void draw_edge(const struct picture *p, const bptt_graph_edge *edge)
{
    const struct spot *from = spot_at(p, (long)edge->from), *to = spot_at(p, (long)edge->to);
    const bptt_graph_node *node = node_at(p, (long)edge->to);
    switch (node->role) {
    case BPTT_ROLE_STATE:
    case BPTT_ROLE_OUTPUT: draw_result(p, from, to); break;
    case BPTT_ROLE_PREDICTION:
    case BPTT_ROLE_STEP_LOSS:
    case BPTT_ROLE_TOTAL: draw_up(p, from, OPERATOR_RADIUS, to, HALF_BOX); break;
    case BPTT_ROLE_MEAN: draw_sum(p, node_at(p, (long)edge->from)->step, from, to); break;
    case BPTT_ROLE_HEAD:
        if (node_at(p, (long)edge->from)->kind == BPTT_VARIABLE)
            draw_up(p, from, HALF_BOX, to, OPERATOR_RADIUS);
        break;
    case BPTT_ROLE_LOSS:
        if (node_at(p, (long)edge->from)->role == BPTT_ROLE_TARGET)
            draw_target(p, from, to);
        else
            draw_up(p, from, HALF_BOX, to, OPERATOR_RADIUS);
        break;
    default: break;                        /* of a block: its lines */
    }
}

/* ---- cuts ---- */

/* Losses whose gradient ends at the link before a step, while others' goes on; NULL: none. */
static const bptt_graph_piece *ends_before(const struct picture *p, int64_t step)
{
    for (size_t i = p->graph->pieces; i-- > 0;)
        if (p->graph->piece[i].from == step)
            return &p->graph->piece[i];
    return NULL;
}

static void add_losses(const struct picture *p, const bptt_graph_piece *piece)
{
    text_printf(p->out, "L<tspan class=\"sub\" dy=\"3\">%lld</tspan><tspan dy=\"-3\">&#8203;</tspan>",
                (long long)piece->losses);
    if (piece->losses < piece->to)
        text_printf(p->out, " … L<tspan class=\"sub\" dy=\"3\">%lld</tspan>", (long long)piece->to);
}

/* Of states above each other the highest bears the words: all are cut alike. */
static int has_words(const struct picture *p, double y)
{
    for (long n = p->place.first_node; !p->graph->detail && n < p->place.first_node + p->place.step_nodes; n++)
        if (node_at(p, n)->role == BPTT_ROLE_STATE && spot_at(p, n)->y < y)
            return 0;
    return 1;
}

static void draw_mark(const struct picture *p, double x, double y, int is_level, int64_t step)
{
    double weight = weight_before(p, step);
    const bptt_graph_piece *ends = ends_before(p, step);
    double dx = is_level ? 3 : 7, dy = is_level ? 7 : 3, label = is_level ? y - 12 : y + 4;
    if (weight == 0)
        text_printf(p->out, "<path class=\"mark\" d=\"M%.1f %.1fl%.1f %.1fM%.1f %.1fl%.1f %.1f\"/>\n",
                    x - dx - (is_level ? 2.5 : 0), y + dy - (is_level ? 0 : 2.5), 2 * dx, -2 * dy,
                    x - dx + (is_level ? 2.5 : 0), y + dy + (is_level ? 0 : 2.5), 2 * dx, -2 * dy);
    else if (!has_words(p, y))
        return;
    else if (weight != 1)
        text_printf(p->out, "<text class=\"weight\" x=\"%.1f\" y=\"%.1f\">×%.3g</text>\n", x + 8 - 12 * is_level, label,
                    weight);
    else if (ends) {
        text_printf(p->out, "<path class=\"mark\" d=\"M%.1f %.1fl%.1f %.1f\"/>\n<text class=\"end\" x=\"%.1f\" y=\"%.1f\">",
                    x - dx, y + dy, 2 * dx, -2 * dy, x + 9 - 14 * is_level, label);
        add_losses(p, ends);
        text_add(p->out, "</text>\n");
    }
}

/* Beside a state, on the line that leaves it. */
static void draw_marks(const struct picture *p)
{
    for (int i = 0; i < p->place.lines; i++) {
        const struct line *line = &p->place.line[i];
        if (!is_from_state(p, line))
            continue;
        for (int64_t t = 2; t <= p->graph->steps; t++) {
            const struct spot *state = spot_at(p, state_before(&p->place, p->place.item[line->from].node, t));
            double turn = level_y(&p->place, p->place.item[line->to].level);
            int is_level = goes_straight(p, line, state) || (!line->aside && state->y + HALF_BOX >= turn + 20);
            if (is_level)
                draw_mark(p, state->x + state->width / 2 + 9, state->y, 1, t);
            else
                draw_mark(p, state->x, state->y + (turn > state->y ? HALF_BOX + 10 : -HALF_BOX - 10), 0, t);
        }
    }
}

/* ---- below: how far back gradients reach, and what the marks mean ---- */

/* Each bar in the first row where it fits beside those before it. Returns the rows there are. */
static int place_bars(const struct picture *p, int *row)
{
    int end[BPTT_GRAPH_STEPS] = {0}, rows = 0;             /* the last step of each row's last bar */
    for (size_t i = 0; i < p->graph->pieces; i++) {
        const bptt_graph_piece *piece = &p->graph->piece[i];
        row[i] = 0;
        while (end[row[i]] >= piece->from)
            row[i]++;
        end[row[i]] = (int)piece->to;
        rows = row[i] >= rows ? row[i] + 1 : rows;
    }
    return rows;
}

static void draw_bar(const struct picture *p, const bptt_graph_piece *piece, double y)
{
    double left = block_left(&p->place, piece->from),
           right = block_left(&p->place, piece->to) + p->place.pitch - p->place.gap / 2 + 14;
    double middle = (left + right) / 2, half = piece->losses < piece->to ? 34 : 14;
    text_printf(
        p->out,
        "<path class=\"bar\" d=\"M%.1f %.1fv10m0 -5H%.1fM%.1f %.1fH%.1f\"/>\n<text class=\"end middle\" x=\"%.1f\" y=\"%.1f\">",
        left, y - 5, middle - half, middle + half, y, right, middle, y + 4);
    add_losses(p, piece);
    text_add(p->out, "</text>\n");
}

static void draw_bars(const struct picture *p, const int *row, double top)
{
    if (p->graph->pieces)
        text_printf(p->out, "<text class=\"note\" x=\"%d\" y=\"%.1f\">gradient of</text>\n", MARGIN, top + 4);
    for (size_t i = 0; i < p->graph->pieces; i++)
        draw_bar(p, &p->graph->piece[i], top + BAR * row[i]);
}

static int is_cut(const struct picture *p)
{
    for (int64_t t = 2; t <= p->graph->steps; t++)
        if (weight_before(p, t) == 0)
            return 1;
    return 0;
}

static void draw_word(const struct picture *p, int x, double y, const char *word)
{
    text_printf(p->out, "<text class=\"note\" x=\"%d\" y=\"%.1f\">%s</text>\n", x, y, word);
}

static void draw_legend(const struct picture *p, double y)
{
    static const char box[] = "<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"22\" height=\"14\" rx=\"3\"/>";
    text_printf(p->out, box, "variable", MARGIN, y - 11);
    draw_word(p, MARGIN + 30, y, "variable");
    text_printf(p->out, box, "parameter", MARGIN + 102, y - 11);
    draw_word(p, MARGIN + 132, y, "parameter, one for all steps");
    text_printf(p->out, "<circle class=\"operator\" cx=\"%d\" cy=\"%.1f\" r=\"8\"/>", MARGIN + 340, y - 4);
    draw_word(p, MARGIN + 356, y, "operator");
    if (!is_cut(p))
        return;
    text_printf(p->out, "<path class=\"cut\" d=\"M%d %.1fh34\"/><path class=\"mark\" d=\"M%d %.1fl6 -14m-1 14l6 -14\"/>",
                MARGIN + 442, y - 4, MARGIN + 454, y + 3);
    draw_word(p, MARGIN + 484, y, "gradient cut");
}

/* What letters stand for. */
static void draw_key(const struct picture *p, double y)
{
    if (p->graph->detail) {
        draw_word(p, MARGIN, y, "An operator with parameters acts on the weighted sum of what enters it; Σ is that sum alone.");
        return;
    }
    text_printf(p->out, "<text class=\"note\" x=\"%d\" y=\"%.1f\">f: a step of the cell; g: output layer; l: loss", MARGIN, y);
    for (long n = 0; node_at(p, n)->kind == BPTT_PARAMETER; n++) {
        text_add(p->out, "; ");
        add_label(p, n);
        text_add(p->out, ": ");
        add_names(p, node_at(p, n)->about, 32);
    }
    text_add(p->out, "</text>\n");
}

static const char style_sheet[] =
    "<style>\n"
    "text { font: 14px system-ui, sans-serif; fill: #222 } .name, .sign, .middle { text-anchor: middle }\n"
    ".name, .value { font-family: Georgia, 'DejaVu Serif', serif; font-style: italic } .sub { font-size: 72% }\n"
    ".sign { font-family: Georgia, 'DejaVu Serif', serif } .note { fill: #666; font-size: 13px }\n"
    ".value, .end, .weight { font-size: 13px; stroke: #fff; stroke-width: 4px; stroke-linejoin: round; "
    "paint-order: stroke }\n"
    ".back { fill: #fff } .variable, .operator { fill: #fff; stroke: #333; stroke-width: 1.5 }\n"
    ".parameter { fill: #cfe1fb; stroke: #2f6fd0; stroke-width: 1.5 }\n"
    "path { fill: none; stroke-width: 1.5 } .flow { stroke: #555 } .tie { stroke: #2f6fd0; stroke-opacity: .75 }\n"
    ".dot { fill: #2f6fd0 } .cut { stroke: #c9402c; stroke-dasharray: 5 4 } .mark { stroke: #c9402c; stroke-width: 2 }\n"
    ".bar { stroke: #c9402c; stroke-width: 2 } .end { fill: #b03321 } .weight { fill: #8e3fc0 }\n"
    ".of-flow { fill: #555 } .of-tie { fill: #2f6fd0 } .of-cut { fill: #c9402c }\n"
    "@media (prefers-color-scheme: dark) {\n"
    ".back { fill: #16181c } text { fill: #eee } .note { fill: #a0a4aa }\n"
    ".variable, .operator { fill: #22252b; stroke: #c4c8ce }\n"
    ".value, .end, .weight { stroke: #16181c } .parameter { fill: #24426e; stroke: #6ea3f5 } .flow { stroke: #a0a4aa }\n"
    ".tie { stroke: #6ea3f5 } .dot, .of-tie { fill: #6ea3f5 } .cut, .mark, .bar { stroke: #f0705c }\n"
    ".end { fill: #f59484 }\n"
    ".weight { fill: #c795ea } .of-flow { fill: #a0a4aa } .of-cut { fill: #f0705c }\n"
    "}\n</style>\n<defs>\n";

static void add_title(const struct picture *p)
{
    picture_escape(p->graph->cell, strlen(p->graph->cell), p->out);
    text_printf(p->out, ", %lld step%s", (long long)p->graph->steps, p->graph->steps == 1 ? "" : "s");
}

static void add_markers(const struct picture *p)
{
    static const char *const style[] = {"flow", "tie", "cut"};
    for (int i = 0; i < 3; i++)
        text_printf(p->out,
                    "<marker id=\"%s\" viewBox=\"0 0 10 10\" refX=\"9.5\" refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" "
                    "markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"of-%s\" d=\"M0 1L10 5L0 9z\"/></marker>\n",
                    style[i], style[i]);
}

static void begin_svg(const struct picture *p, double width, double height)
{
    text_printf(p->out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" width=\"%.0f\" "
                "height=\"%.0f\" role=\"img\">\n", width, height, width, height);
    text_add(p->out, "<title>Computational graph: ");
    add_title(p);
    text_printf(p->out, "</title>\n%s", style_sheet);
    add_markers(p);
    text_printf(p->out, "</defs>\n<rect class=\"back\" width=\"100%%\" height=\"100%%\"/>\n<text x=\"%d\" y=\"30\">", MARGIN);
    add_title(p);
    if (*p->graph->gradient) {
        text_add(p->out, "<tspan class=\"note\" dx=\"10\">gradient ");
        picture_escape(p->graph->gradient, strlen(p->graph->gradient), p->out);
        text_printf(p->out, "%s</tspan>", p->graph->pieces ? "" : ": no link is cut");
    }
    text_add(p->out, "</text>\n");
}

int picture_svg(const bptt_graph *graph, struct text *out, bptt_error *error)
{
    struct picture p = {.graph = graph, .out = out};
    struct arena arena = {0};
    int status = place_graph(graph, &arena, &p.place, error), row[BPTT_GRAPH_STEPS];
    if (!status) {
        double bottom = p.place.height + BAR * place_bars(&p, row) + (graph->pieces ? BAR / 2 : 0),
               width = p.place.width < LEAST_WIDTH ? LEAST_WIDTH : p.place.width;
        begin_svg(&p, width, bottom + LEGEND);
        draw_rails(&p);
        draw_lines(&p);
        draw_head_rail(&p);
        for (size_t i = 0; i < graph->edges; i++)
            draw_edge(&p, &graph->edge[i]);
        draw_marks(&p);
        draw_nodes(&p);
        draw_bars(&p, row, p.place.height + 14);
        draw_legend(&p, bottom + 26);
        draw_key(&p, bottom + 50);
        text_add(out, "</svg>\n");
    }
    arena_free(&arena);
    return status;
}
