/* The tag loss as a compiled routine goes about it: images, people and pairs one by one, forward and backward.
 *
 * tags (B, N, D), keypoints (B, P, K, 2): place among the N and whether it counts; output (B, 2): push and pull;
 * up (B, 2): the gradient of both; gradient (B, N, D), zero at first; means (P, D) and numbers (P) are scratch.
 */
#include <math.h>
#include <stdint.h>

void tag_loss(const float *tags, const int64_t *keypoints, const float *up, float *output, float *gradient,
              double *means, double *numbers, long batch, long places, long dimensions, long people, long joints)
{
    for (long b = 0; b < batch; b++) {
        const float *t = tags + b * places * dimensions;
        float *g = gradient + b * places * dimensions;
        const int64_t *own = keypoints + b * people * joints * 2;
        double pull = 0, push = 0;
        long there = 0;
        for (long p = 0; p < people; p++) {
            double *m = means + p * dimensions;
            numbers[p] = 0;
            for (long d = 0; d < dimensions; d++) m[d] = 0;
            for (long k = 0; k < joints; k++) {
                const int64_t *slot = own + (p * joints + k) * 2;
                if (!slot[1]) continue;
                numbers[p] += 1;
                for (long d = 0; d < dimensions; d++) m[d] += t[slot[0] * dimensions + d];
            }
            if (numbers[p] == 0) continue;
            there++;
            for (long d = 0; d < dimensions; d++) m[d] /= numbers[p];
            double apart = 0;
            for (long k = 0; k < joints; k++) {
                const int64_t *slot = own + (p * joints + k) * 2;
                if (!slot[1]) continue;
                for (long d = 0; d < dimensions; d++) {
                    double e = t[slot[0] * dimensions + d] - m[d];
                    apart += e * e;
                }
            }
            pull += apart / (numbers[p] * dimensions);
        }
        double pairs = there > 1 ? there * (there - 1) / 2.0 : 1;
        for (long p = 0; p < people; p++) {
            if (numbers[p] == 0) continue;
            for (long k = 0; k < joints; k++) {
                const int64_t *slot = own + (p * joints + k) * 2;
                if (!slot[1]) continue;
                for (long d = 0; d < dimensions; d++) {
                    double e = t[slot[0] * dimensions + d] - means[p * dimensions + d];
                    g[slot[0] * dimensions + d] += up[2 * b + 1] * 2 * e / (dimensions * numbers[p] * there);
                }
            }
            for (long q = p + 1; q < people; q++) {
                if (numbers[q] == 0) continue;
                double square = 0;
                for (long d = 0; d < dimensions; d++) {
                    double e = means[p * dimensions + d] - means[q * dimensions + d];
                    square += e * e;
                }
                double close = exp(-square);
                push += close;
                for (long d = 0; d < dimensions; d++) {
                    double e = means[p * dimensions + d] - means[q * dimensions + d];
                    double turn = up[2 * b] * e * close / pairs;
                    for (long k = 0; k < joints; k++) {
                        const int64_t *a = own + (p * joints + k) * 2, *c = own + (q * joints + k) * 2;
                        if (a[1]) g[a[0] * dimensions + d] -= turn / numbers[p];
                        if (c[1]) g[c[0] * dimensions + d] += turn / numbers[q];
                    }
                }
            }
        }
        output[2 * b] = 0.5 * push / pairs;
        output[2 * b + 1] = there ? pull / there : 0;
    }
}
