/* oracle.c - see oracle.h. A function is a cell; inside, k is a unit, `dot` one row of a matrix times a vector, and
 * everything is written out unit by unit, slowly and plainly. Loops over k are cut only where a later line needs a
 * whole vector. */
#include "oracle.h"

#include <math.h>
#include <string.h>

/* ---- pieces ---- */

static double sigmoid(double a)
{
    return 1 / (1 + exp(-a));
}

static const double *find(struct oracle *s, const char *name)
{
    static const double nothing[1];
    const double *value = s->lookup(name, s->user);
    if (!value)
        s->missing = 1;
    return value ? value : nothing;
}

static double at(struct oracle *s, const char *name, int k)
{
    const double *value = find(s, name);
    return s->missing ? 0 : value[k];
}

static double dot(struct oracle *s, const char *name, int k, const double *v, int columns)
{
    const double *row = find(s, name);
    double sum = 0;
    for (int j = 0; j < columns && !s->missing; j++)
        sum += row[k * columns + j] * v[j];
    return sum;
}

static double from_input(struct oracle *s, const char *name, int k)
{
    return dot(s, name, k, s->x, s->inputs);
}

static double from_hidden(struct oracle *s, const char *name, int k, const double *v)
{
    return dot(s, name, k, v, s->hidden);
}

/* W x + U h + b of one gate, where the state comes first */
static double gate(struct oracle *s, const char *w, const char *u, const char *b, int k)
{
    return from_input(s, w, k) + from_hidden(s, u, k, s->state[0]) + at(s, b, k);
}

/* ---- one state ---- */

static void step_linear(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++)
        s->next[0][k] = from_input(s, "W_hx", k) + from_hidden(s, "W_hh", k, s->state[0]);
}

static void step_rnn(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++)
        s->next[0][k] = tanh(gate(s, "W", "U", "b", k));
}

static void step_rnn_relu(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++) {
        double a = gate(s, "W", "U", "b", k);
        s->next[0][k] = a > 0 ? a : 0;
    }
}

static void step_gru(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++) {
        double r = sigmoid(gate(s, "W_r", "U_r", "b_r", k) + at(s, "c_r", k));
        double z = sigmoid(gate(s, "W_z", "U_z", "b_z", k) + at(s, "c_z", k));
        double recurrent = from_hidden(s, "U_n", k, s->state[0]) + at(s, "c_n", k);
        double n = tanh(from_input(s, "W_n", k) + at(s, "b_n", k) + r * recurrent);
        s->next[0][k] = n + z * (s->state[0][k] - n);
    }
}

static void step_gru_v1(struct oracle *s)
{
    double reset[ORACLE_WIDTH];
    for (int k = 0; k < s->hidden; k++)
        reset[k] = sigmoid(gate(s, "W_r", "U_r", "b_r", k)) * s->state[0][k];
    for (int k = 0; k < s->hidden; k++) {
        double z = sigmoid(gate(s, "W_z", "U_z", "b_z", k));
        double n = tanh(from_input(s, "W_n", k) + from_hidden(s, "U_n", k, reset) + at(s, "b_n", k));
        s->next[0][k] = n + z * (s->state[0][k] - n);
    }
}

static void step_mgu(struct oracle *s)
{
    double f[ORACLE_WIDTH], kept[ORACLE_WIDTH];
    for (int k = 0; k < s->hidden; k++) {
        f[k] = sigmoid(gate(s, "W_f", "U_f", "b_f", k));
        kept[k] = f[k] * s->state[0][k];
    }
    for (int k = 0; k < s->hidden; k++) {
        double n = tanh(from_input(s, "W_h", k) + from_hidden(s, "U_h", k, kept) + at(s, "b_h", k));
        s->next[0][k] = s->state[0][k] + f[k] * (n - s->state[0][k]);
    }
}

static void step_ugrnn(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++) {
        double c = tanh(gate(s, "W_c", "U_c", "b_c", k));
        double g = sigmoid(gate(s, "W_g", "U_g", "b_g", k));
        s->next[0][k] = c + g * (s->state[0][k] - c);
    }
}

static void step_indrnn(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++)
        s->next[0][k] = fmax(0, from_input(s, "W", k) + at(s, "u", k) * s->state[0][k] + at(s, "b", k));
}

static void step_mingru(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++) {
        double z = sigmoid(from_input(s, "W_z", k) + at(s, "b_z", k));
        double n = from_input(s, "W_h", k) + at(s, "b_h", k);
        s->next[0][k] = s->state[0][k] + z * (n - s->state[0][k]);
    }
}

static void step_minlstm(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++) {
        double f = sigmoid(from_input(s, "W_f", k) + at(s, "b_f", k));
        double i = sigmoid(from_input(s, "W_i", k) + at(s, "b_i", k));
        double n = from_input(s, "W_h", k) + at(s, "b_h", k);
        s->next[0][k] = f / (f + i) * s->state[0][k] + i / (f + i) * n;
    }
}

static void step_sru(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++) {
        double old = s->state[0][k];
        double f = sigmoid(from_input(s, "W_f", k) + at(s, "v_f", k) * old + at(s, "b_f", k));
        double r = sigmoid(from_input(s, "W_r", k) + at(s, "v_r", k) * old + at(s, "b_r", k));
        double c = f * old + (1 - f) * from_input(s, "W", k);
        s->next[0][k] = c;
        s->output[k] = r * c + (1 - r) * from_input(s, "W_x", k);
    }
}

static void step_fastgrnn(struct oracle *s)
{
    int rank = (s->hidden + 1) / 2;
    double thin_x[ORACLE_WIDTH], thin_h[ORACLE_WIDTH];
    for (int r = 0; r < rank; r++) {
        thin_x[r] = from_input(s, "W_2", r);
        thin_h[r] = from_hidden(s, "U_2", r, s->state[0]);
    }
    double zeta = sigmoid(at(s, "zeta", 0)), nu = sigmoid(at(s, "nu", 0));
    for (int k = 0; k < s->hidden; k++) {
        double a = dot(s, "W_1", k, thin_x, rank) + dot(s, "U_1", k, thin_h, rank);
        double z = sigmoid(a + at(s, "b_z", k));
        s->next[0][k] = (zeta * (1 - z) + nu) * tanh(a + at(s, "b_h", k)) + z * s->state[0][k];
    }
}

static void step_antisymmetric(struct oracle *s)
{
    const double eps = 0.01, gamma = 0.01;
    int n = s->hidden;
    for (int k = 0; k < n; k++) {
        double a = from_input(s, "V", k) + at(s, "b", k);
        for (int j = 0; j < n; j++)
            a += (at(s, "W", k * n + j) - at(s, "W", j * n + k) - (j == k ? gamma : 0)) * s->state[0][j];
        s->next[0][k] = s->state[0][k] + eps * tanh(a);
    }
}

static void step_cfc(struct oracle *s)
{
    double u[ORACLE_WIDTH];
    const double t = 1;
    for (int k = 0; k < s->hidden; k++)
        u[k] = tanh(gate(s, "W", "U", "b", k));
    for (int k = 0; k < s->hidden; k++) {
        double early = tanh(from_hidden(s, "W_g", k, u) + at(s, "b_g", k));
        double late = tanh(from_hidden(s, "W_k", k, u) + at(s, "b_k", k));
        double rate = from_hidden(s, "W_a", k, u) + at(s, "b_a", k);
        double shift = from_hidden(s, "W_b", k, u) + at(s, "b_b", k);
        s->next[0][k] = early + sigmoid(rate * t + shift) * (late - early);
    }
}

/* ---- two states: the LSTMs ---- */

static void step_lstm(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++) {
        double i = sigmoid(gate(s, "W_i", "U_i", "b_i", k));
        double f = sigmoid(gate(s, "W_f", "U_f", "b_f", k));
        double g = tanh(gate(s, "W_g", "U_g", "b_g", k));
        double o = sigmoid(gate(s, "W_o", "U_o", "b_o", k));
        s->next[1][k] = f * s->state[1][k] + i * g;
        s->next[0][k] = o * tanh(s->next[1][k]);
    }
}

static void step_lstm_peephole(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++) {
        double old = s->state[1][k];
        double i = sigmoid(gate(s, "W_i", "U_i", "b_i", k) + at(s, "p_i", k) * old);
        double f = sigmoid(gate(s, "W_f", "U_f", "b_f", k) + at(s, "p_f", k) * old);
        double c = f * old + i * tanh(gate(s, "W_g", "U_g", "b_g", k));
        double o = sigmoid(gate(s, "W_o", "U_o", "b_o", k) + at(s, "p_o", k) * c);
        s->next[1][k] = c;
        s->next[0][k] = o * tanh(c);
    }
}

/* A gate of the projected LSTM: the state that comes back is `half` wide. */
static double narrow_gate(struct oracle *s, const char *w, const char *u, const char *b, int k, int half)
{
    return from_input(s, w, k) + dot(s, u, k, s->state[0], half) + at(s, b, k);
}

static void step_lstm_projected(struct oracle *s)
{
    int half = s->hidden / 2;
    double m[ORACLE_WIDTH];
    for (int k = 0; k < s->hidden; k++) {
        double i = sigmoid(narrow_gate(s, "W_i", "U_i", "b_i", k, half));
        double f = sigmoid(narrow_gate(s, "W_f", "U_f", "b_f", k, half));
        double g = tanh(narrow_gate(s, "W_g", "U_g", "b_g", k, half));
        double o = sigmoid(narrow_gate(s, "W_o", "U_o", "b_o", k, half));
        s->next[1][k] = f * s->state[1][k] + i * g;
        m[k] = o * tanh(s->next[1][k]);
    }
    for (int r = 0; r < half; r++)
        s->next[0][r] = from_hidden(s, "P", r, m);
}

/* v becomes (v - mean) / sqrt(variance + 1e-5) * gain */
static void normalise(struct oracle *s, double *v, const char *gain)
{
    double mean = 0, variance = 0;
    for (int k = 0; k < s->hidden; k++)
        mean += v[k] / s->hidden;
    for (int k = 0; k < s->hidden; k++)
        variance += (v[k] - mean) * (v[k] - mean) / s->hidden;
    for (int k = 0; k < s->hidden; k++)
        v[k] = (v[k] - mean) / sqrt(variance + 1e-5) * at(s, gain, k);
}

struct normalised_gate { const char *w, *u, *gain_x, *gain_h, *bias; };

static void fill_normalised_gate(struct oracle *s, const struct normalised_gate *names, double *v)
{
    double recurrent[ORACLE_WIDTH];
    for (int k = 0; k < s->hidden; k++) {
        v[k] = from_input(s, names->w, k);
        recurrent[k] = from_hidden(s, names->u, k, s->state[0]);
    }
    normalise(s, v, names->gain_x);
    normalise(s, recurrent, names->gain_h);
    for (int k = 0; k < s->hidden; k++)
        v[k] += recurrent[k] + at(s, names->bias, k);
}

static void step_lstm_layernorm(struct oracle *s)
{
    double i[ORACLE_WIDTH], f[ORACLE_WIDTH], g[ORACLE_WIDTH], o[ORACLE_WIDTH], c[ORACLE_WIDTH];
    fill_normalised_gate(s, &(struct normalised_gate){"W_i", "U_i", "gx_i", "gh_i", "b_i"}, i);
    fill_normalised_gate(s, &(struct normalised_gate){"W_f", "U_f", "gx_f", "gh_f", "b_f"}, f);
    fill_normalised_gate(s, &(struct normalised_gate){"W_g", "U_g", "gx_g", "gh_g", "b_g"}, g);
    fill_normalised_gate(s, &(struct normalised_gate){"W_o", "U_o", "gx_o", "gh_o", "b_o"}, o);
    for (int k = 0; k < s->hidden; k++)
        c[k] = s->next[1][k] = sigmoid(f[k]) * s->state[1][k] + sigmoid(i[k]) * tanh(g[k]);
    normalise(s, c, "gc");
    for (int k = 0; k < s->hidden; k++)
        s->next[0][k] = sigmoid(o[k]) * tanh(c[k] + at(s, "bc", k));
}

/* ---- two states: equations of motion ---- */

static void step_cornn(struct oracle *s)
{
    const double dt = 0.05, gamma = 2.7, epsilon = 4.7;
    for (int k = 0; k < s->hidden; k++) {
        double place = s->state[0][k], velocity = s->state[1][k];
        double force = tanh(gate(s, "V", "W", "b", k) + from_hidden(s, "W_z", k, s->state[1]));
        s->next[1][k] = velocity + dt * force - dt * gamma * place - dt * epsilon * velocity;
        s->next[0][k] = place + dt * s->next[1][k];
    }
}

static void step_lem(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++) {
        double dt = sigmoid(gate(s, "V_1", "W_1", "b_1", k));
        s->next[1][k] = (1 - dt) * s->state[1][k] + dt * tanh(gate(s, "V_z", "W_z", "b_z", k));
    }
    for (int k = 0; k < s->hidden; k++) {
        double dt = sigmoid(gate(s, "V_2", "W_2", "b_2", k));
        double target = tanh(from_input(s, "V_y", k) + from_hidden(s, "W_y", k, s->next[1]) + at(s, "b_y", k));
        s->next[0][k] = (1 - dt) * s->state[0][k] + dt * target;
    }
}

/* ---- four states ---- */

/* A gate of the sLSTM: the recurrent matrix has four blocks, stored one below the other. */
static double head_gate(struct oracle *s, const char *w, const char *r, const char *b, int k)
{
    int width = s->hidden / 4;
    return from_input(s, w, k) + dot(s, r, k, s->state[0] + k / width * width, width) + at(s, b, k);
}

static void step_slstm(struct oracle *s)
{
    for (int k = 0; k < s->hidden; k++) {
        double z = tanh(head_gate(s, "W_z", "R_z", "b_z", k));
        double o = sigmoid(head_gate(s, "W_o", "R_o", "b_o", k));
        double log_i = head_gate(s, "W_i", "R_i", "b_i", k);
        double log_f = head_gate(s, "W_f", "R_f", "b_f", k);
        double m = fmax(log_f + s->state[3][k], log_i);
        double i = exp(log_i - m), f = exp(log_f + s->state[3][k] - m);
        s->next[1][k] = f * s->state[1][k] + i * z;
        s->next[2][k] = f * s->state[2][k] + i;
        s->next[3][k] = m;
        s->next[0][k] = o * (s->next[1][k] / s->next[2][k]);
    }
}

/* ---- the table ---- */

struct row {
    const char *cell;
    void (*step)(struct oracle *);
    const char *states;                    /* one letter each */
    int narrow;                            /* 1: the first state is half as wide */
    int blocks, has_output;
};

static const struct row rows[] = {
    {"antisymmetric", step_antisymmetric, "h", 0, 1, 0},
    {"cfc", step_cfc, "h", 0, 1, 0},
    {"cornn", step_cornn, "yz", 0, 1, 0},
    {"fastgrnn", step_fastgrnn, "h", 0, 1, 0},
    {"gru", step_gru, "h", 0, 1, 0},
    {"gru_v1", step_gru_v1, "h", 0, 1, 0},
    {"indrnn", step_indrnn, "h", 0, 1, 0},
    {"lem", step_lem, "yz", 0, 1, 0},
    {"linear", step_linear, "h", 0, 1, 0},
    {"lstm", step_lstm, "hc", 0, 1, 0},
    {"lstm_layernorm", step_lstm_layernorm, "hc", 0, 1, 0},
    {"lstm_peephole", step_lstm_peephole, "hc", 0, 1, 0},
    {"lstm_projected", step_lstm_projected, "hc", 1, 1, 0},
    {"mgu", step_mgu, "h", 0, 1, 0},
    {"mingru", step_mingru, "h", 0, 1, 0},
    {"minlstm", step_minlstm, "h", 0, 1, 0},
    {"rnn", step_rnn, "h", 0, 1, 0},
    {"rnn_relu", step_rnn_relu, "h", 0, 1, 0},
    {"slstm", step_slstm, "hcnm", 0, 4, 0},
    {"sru", step_sru, "c", 0, 1, 1},
    {"ugrnn", step_ugrnn, "h", 0, 1, 0},
};

static const struct row *row_of(const char *cell)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].cell, cell))
            return &rows[i];
    return NULL;
}

int oracle_states(const char *cell)
{
    const struct row *row = row_of(cell);
    return row ? (int)strlen(row->states) : 0;
}

char oracle_state_name(const char *cell, int state)
{
    return row_of(cell)->states[state];
}

int oracle_state_width(const char *cell, int state, int hidden)
{
    return row_of(cell)->narrow && state == 0 ? hidden / 2 : hidden;
}

int oracle_blocks(const char *cell)
{
    return row_of(cell)->blocks;
}

int oracle_step(const char *cell, struct oracle *oracle)
{
    const struct row *row = row_of(cell);
    if (!row || oracle->hidden > ORACLE_WIDTH)
        return -1;
    row->step(oracle);
    if (!row->has_output)
        memcpy(oracle->output, oracle->next[0], sizeof oracle->output);
    memcpy(oracle->state, oracle->next, sizeof oracle->state);
    return oracle->missing ? -1 : 0;
}
