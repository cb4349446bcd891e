/* The closed-form rules for the derivatives of all features by one source particle k.
 *
 * Rows of source k: dh[i, c, :] = d h_i / d x_kc and du[i, c, :, :] = d u_i / d x_kc for every particle i. With
 * rho = r_ki/d_ki, c the component of x_k, e_c its unit vector, a filter f with derivative f', and a value s_j at
 * particle j:
 *     sum over j of f_ij s_j          rows: sum f_ij ds_j;       i != k: + f'_ik rho_c s_k;
 *                                                                i = k: + sum f'_kj rho_kj,c s_j
 *     sum over j of g_ij b_j r_ij     rows: sum g_ij db_j r_ij;  i != k: - (g' rho_c r_ki + g e_c) b_k;
 *                                                                i = k: + sum (g' rho_c r_kj + g e_c) b_j
 *     sum over j of p_ij r_ij.u_j     rows: sum p_ij r_ij.du_j;  i != k: - (p' rho_c r_ki.u_k + p u_k,c);
 *                                                                i = k: + sum (p' rho_c r_kj.u_j + p u_j,c) */
#include "ref_message_closed.h"

/* Component c of r_ij/d_ij; 0 where the two are at one place. */
static double rho(const closed *q, size_t i, size_t j, size_t c) {
    double d = q->d[i * q->N + j];
    return d < 1e-9 ? 0.0 : q->r[(i * q->N + j) * q->D + c] / d;
}

/* The direct part of d/dx_kc in particle i's sum over j = other: the pair is (i, other), and one of the two is k.
 * With sign = +1 for i = k (r_ij moves by + e_c), -1 for other = k. Filters F, values at `other`. */
static double moved(const closed *q, size_t k, size_t i, size_t other, size_t c, double *sign_out) {
    *sign_out = i == k ? 1.0 : -1.0;
    return i == k ? rho(q, k, other, c) : rho(q, k, i, c); /* d d_ij / d x_kc */
}

void ref_message_first_rows(closed *q, size_t k) {
    const hop *v = q->hops + 1;
    size_t N = q->N, D = q->D, H = q->H, M = q->M;
    double *dS = zeros(H), *dw = zeros(D * M), *dz = zeros(H);
    for (size_t i = 0; i < N; ++i)
        for (size_t c = 0; c < D; ++c) {
            memset(dS, 0, H * sizeof *dS);
            memset(dz, 0, H * sizeof *dz);
            memset(dw, 0, D * M * sizeof *dw);
            for (size_t j = 0; j < N; ++j) {
                if (j == i || (i != k && j != k)) continue;
                double sign, slope = moved(q, k, i, j, c, &sign);
                const double *F = q->F + (i * N + j) * q->num_filters, *dF = q->dF + (i * N + j) * q->num_filters;
                for (size_t o = 0; o < H; ++o) dS[o] += dF[o] * slope;
                for (size_t s = 0; s < D; ++s)
                    for (size_t m = 0; m < M; ++m)
                        dw[s * M + m] +=
                            dF[H + m] * slope * q->r[(i * N + j) * D + s] + (s == c ? sign * F[H + m] : 0.0);
            }
            add_dense(q, dz, "W0", 0, dS);
            for (size_t o = 0; o < H; ++o) q->dh[(i * D + c) * H + o] = silu_prime(v->z[i * H + o]) * dz[o];
            memcpy(q->du + (i * D + c) * D * M, dw, D * M * sizeof *dw);
        }
    free(dS);
    free(dw);
    free(dz);
}

/* The sums over neighbours of row (i, c) in hop l: dm [H], dp [M], and what dw [D, M] gets from them. */
static void sum_rows(const closed *q, unsigned l, size_t k, size_t i, size_t c, double *dm, double *dp, double *dw) {
    const hop *old = q->hops + l - 1, *v = q->hops + l;
    size_t N = q->N, D = q->D, H = q->H, M = q->M, first = filters_of(q, l);
    double *dAh = zeros(H), *dBh = zeros(M), *dVu = zeros(D * M);
    for (size_t j = 0; j < N; ++j) {
        if (j == i) continue;
        const double *F = q->F + (i * N + j) * q->num_filters + first, *r = q->r + (i * N + j) * D;
        const double *dF = q->dF + (i * N + j) * q->num_filters + first, *dh_j = q->dh + (j * D + c) * H,
                     *du_j = q->du + (j * D + c) * D * M;
        memset(dAh, 0, H * sizeof *dAh);
        memset(dBh, 0, M * sizeof *dBh);
        memset(dVu, 0, D * M * sizeof *dVu);
        add_dense(q, dAh, "A", l, dh_j);
        add_dense(q, dBh, "B", l, dh_j);
        for (size_t s = 0; s < D; ++s) add_dense(q, dVu + s * M, "V", l, du_j + s * M);
        for (size_t o = 0; o < H; ++o) dm[o] += F[o] * dAh[o];
        for (size_t m = 0; m < M; ++m) {
            dp[m] += F[H + m] * along(r, du_j, D, M, m);
            for (size_t s = 0; s < D; ++s)
                dw[s * M + m] += F[H + M + m] * dBh[m] * r[s] + F[H + 2 * M + m] * dVu[s * M + m];
        }
        if (i != k && j != k) continue;
        double sign, slope = moved(q, k, i, j, c, &sign);
        for (size_t o = 0; o < H; ++o) dm[o] += dF[o] * slope * v->Ah[j * H + o];
        for (size_t m = 0; m < M; ++m) {
            const double *u_j = old->u + j * D * M;
            dp[m] += dF[H + m] * slope * along(r, u_j, D, M, m) + sign * F[H + m] * u_j[c * M + m];
            for (size_t s = 0; s < D; ++s)
                dw[s * M + m] +=
                    (dF[H + M + m] * slope * r[s] + (s == c ? sign * F[H + M + m] : 0.0)) * v->Bh[j * M + m] +
                    dF[H + 2 * M + m] * slope * v->Vu[(j * D + s) * M + m];
        }
    }
    free(dAh);
    free(dBh);
    free(dVu);
}

void ref_message_later_rows(closed *q, unsigned l, size_t k) {
    const hop *v = q->hops + l;
    size_t N = q->N, D = q->D, H = q->H, M = q->M;
    double *dm = zeros(2 * H), *dz = dm + H, *dp = zeros(3 * M), *dn = dp + M, *dgate = dp + 2 * M,
           *dw = zeros(4 * D * M), *dPw = dw + D * M, *dQw = dw + 2 * D * M, *dopen = dw + 3 * D * M;
    for (size_t i = 0; i < N; ++i)
        for (size_t c = 0; c < D; ++c) {
            memset(dm, 0, 2 * H * sizeof *dm);
            memset(dp, 0, 3 * M * sizeof *dp);
            memset(dw, 0, 4 * D * M * sizeof *dw);
            const double *w = v->w + i * D * M, *dh = q->dh + (i * D + c) * H, *du = q->du + (i * D + c) * D * M;
            for (size_t s = 0; s < D; ++s) add_dense(q, dw + s * M, "U", l, du + s * M);
            sum_rows(q, l, k, i, c, dm, dp, dw);
            for (size_t s = 0; s < D; ++s) {
                add_dense(q, dPw + s * M, "P", l, dw + s * M);
                add_dense(q, dQw + s * M, "Q", l, dw + s * M);
            }
            for (size_t m = 0; m < M; ++m) {
                dn[m] = sat_prime(v->n[i * M + m]) *
                        (dot_space(dPw, v->Qw + i * D * M, D, M, m) + dot_space(v->Pw + i * D * M, dQw, D, M, m));
                dp[m] *= sat_prime(v->p[i * M + m]);
            }
            add_dense(q, dz, "W1", l, dh);
            add_dense(q, dz, "W2", l, dm);
            add_dense(q, dz, "W3", l, dp);
            add_dense(q, dz, "W4", l, dn);
            double *dh_new = q->dh_new + (i * D + c) * H;
            for (size_t o = 0; o < H; ++o) dh_new[o] = dh[o] + silu_prime(v->z[i * H + o]) * dz[o];
            add_dense(q, dgate, "G", l, dh_new);
            for (size_t s = 0; s < D; ++s)
                for (size_t m = 0; m < M; ++m)
                    dopen[s * M + m] = dw[s * M + m] * v->gate[i * M + m] + w[s * M + m] * dgate[m];
            bound(q, v->open + i * D * M, dopen, q->du_new + (i * D + c) * D * M);
        }
    memcpy(q->dh, q->dh_new, N * D * H * sizeof *q->dh);
    memcpy(q->du, q->du_new, N * D * D * M * sizeof *q->du);
    free(dm);
    free(dp);
    free(dw);
}

/* ---- Read-out ---- */

/* [h, n] and y of particle i, and their derivatives along x_k moving by r_kj: values [H + R], [D, R]. */
typedef struct end {
    double *both, *dboth, *y, *dy;
} end;

static void make_end(const closed *q, size_t i, const double *r, end *e) {
    const hop *v = q->hops + q->L;
    size_t D = q->D, H = q->H, M = q->M, R = q->R;
    double *du = zeros(D * M);
    e->both = zeros(2 * (H + R) + 2 * D * R);
    e->dboth = e->both + H + R;
    e->y = e->dboth + H + R;
    e->dy = e->y + D * R;
    memcpy(e->both, v->h + i * H, H * sizeof(double));
    for (size_t c = 0; c < D; ++c) {
        for (size_t o = 0; o < H; ++o) e->dboth[o] += r[c] * q->dh[(i * D + c) * H + o];
        for (size_t o = 0; o < D * M; ++o) du[o] += r[c] * q->du[(i * D + c) * D * M + o];
    }
    for (size_t s = 0; s < D; ++s) {
        add_dense(q, e->y + s * R, "Y", 0, v->u + (i * D + s) * M);
        add_dense(q, e->dy + s * R, "Y", 0, du + s * M);
    }
    for (size_t m = 0; m < R; ++m) {
        double square = dot_space(e->y, e->y, D, R, m);
        e->both[H + m] = sat(square);
        e->dboth[H + m] = sat_prime(square) * 2.0 * dot_space(e->y, e->dy, D, R, m);
    }
    free(du);
}

/* D g_kj + the derivative of g_kj along x_k moving by r_kj. */
static double edge(const closed *q, size_t k, size_t j) {
    size_t D = q->D, E = q->E, R = q->R, kj = k * q->N + j;
    const double *r = q->r + kj * D, d = q->d[kj], *a = q->Ed + kj * 2 * E, *da = q->dEd + kj * 2 * E;
    end ek, ej;
    make_end(q, k, r, &ek);
    make_end(q, j, r, &ej);
    double *memory = zeros(9 * E + 6 * R + q->K + 1), *node = memory, *dnode = node + E, *z = dnode + E, *dz = z + E,
           *y = dz + E, *dy = y + E, *scale = dy + E, *hidden = scale + E, *dhidden = hidden + E, *alpha = dhidden + E,
           *s = alpha + q->K + 1, *ds = s + 3 * R;
    add_dense(q, node, "tau_B", 0, q->T);
    add_dense(q, node, "B1", 0, ek.both);
    add_dense(q, node, "C1", 0, ej.both);
    add_dense(q, dnode, "B1", 0, ek.dboth);
    add_dense(q, dnode, "C1", 0, ej.dboth);
    for (size_t m = 0; m < R; ++m) { /* r moves by itself */
        s[m] = along(r, ek.y, D, R, m);
        ds[m] = s[m] + along(r, ek.dy, D, R, m);
        s[R + m] = along(r, ej.y, D, R, m);
        ds[R + m] = s[R + m] + along(r, ej.dy, D, R, m);
        s[2 * R + m] = dot_space(ek.y, ej.y, D, R, m);
        ds[2 * R + m] = dot_space(ek.dy, ej.y, D, R, m) + dot_space(ek.y, ej.dy, D, R, m);
    }
    add_dense(q, z, "S", 0, s);
    add_dense(q, dz, "S", 0, ds);
    double g = 0.0, dg = 0.0;
    add_dense(q, scale, "tau_c", 0, q->T);
    for (size_t o = 0; o < E; ++o) {
        scale[o] += a[E + o];
        z[o] += a[o] + scale[o] * node[o];
        dz[o] += d * da[o] + d * da[E + o] * node[o] + scale[o] * dnode[o];
        hidden[o] = silu(z[o]);
        dhidden[o] = silu_prime(z[o]) * dz[o];
    }
    add_dense(q, &g, "w4", 0, z);
    add_dense(q, &dg, "w4", 0, dz);
    add_dense(q, y, "W2e", 0, hidden);
    add_dense(q, y, "tau_e", 0, q->T);
    add_dense(q, dy, "W2e", 0, dhidden);
    for (size_t o = 0; o < E; ++o) {
        hidden[o] = silu(y[o]);
        dhidden[o] = silu_prime(y[o]) * dy[o];
    }
    add_dense(q, &g, "w3", 0, hidden);
    add_dense(q, &dg, "w3", 0, dhidden);
    add_dense(q, alpha, "alpha", 0, q->T);
    g += alpha[q->K];
    for (size_t m = 0; m < q->K; ++m) {
        g += alpha[m] * q->gauss[kj * q->K + m];
        dg += alpha[m] * d * q->dgauss[kj * q->K + m];
    }
    free(ek.both);
    free(ej.both);
    free(memory);
    return (double)D * g + dg;
}

/* sum over c of omega . d[u_k (1 + G h_k)]_c / d x_kc */
static double own_vectors(const closed *q, size_t k) {
    const hop *v = q->hops + q->L;
    size_t D = q->D, M = q->M;
    double sum = 0.0, *gate = zeros(3 * M), *dgate = gate + M, *moved_vectors = gate + 2 * M;
    for (size_t m = 0; m < M; ++m) gate[m] = 1.0;
    add_dense(q, gate, "G_out", 0, v->h + k * q->H);
    for (size_t c = 0; c < D; ++c) {
        memset(dgate, 0, M * sizeof *dgate);
        add_dense(q, dgate, "G_out", 0, q->dh + (k * D + c) * q->H);
        for (size_t m = 0; m < M; ++m)
            moved_vectors[m] = q->du[((k * D + c) * D + c) * M + m] * gate[m] + v->u[(k * D + c) * M + m] * dgate[m];
        add_dense(q, &sum, "omega", 0, moved_vectors);
    }
    free(gate);
    return sum;
}

double ref_message_read_out_rows(const closed *q, size_t k) {
    double sum = own_vectors(q, k);
    for (size_t j = 0; j < q->N; ++j)
        if (j != k) sum += edge(q, k, j);
    return sum;
}
