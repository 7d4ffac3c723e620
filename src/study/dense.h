/* dense.h - the little that is needed of small dense matrices: singular values, spectral radius, thin QR. Row-major, double
 * precision. Not for speed: matrices of some hundred rows. */
#ifndef BPTT_STUDY_DENSE_H
#define BPTT_STUDY_DENSE_H

/* Largest and smallest singular value of a [n][n], which is overwritten. work: 4 n doubles. NaN if a is not finite. */
void dense_singular(double *a, long n, double *work, double *largest, double *smallest);
/* Largest modulus of an eigenvalue of a [n][n], which is overwritten. work: 2 n doubles. NaN if a is not finite, or where the
 * iteration does not end. */
double dense_radius(double *a, long n, double *work);
/* Columns q [columns][n], one behind the other, made orthonormal from the first on; scale [columns]: how long each was beside
 * those before it (the diagonal of R). */
void dense_orthonormal(double *q, long columns, long n, double *scale);
/* c = a b, all [n][n]; c apart from both. */
void dense_multiply(const double *a, const double *b, long n, double *c);
/* y = a x, or a^T x. */
void dense_apply(const double *a, long n, int transposed, const double *x, double *y);
double dense_dot(const double *a, const double *b, long n);

#endif
