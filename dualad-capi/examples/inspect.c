/* Inspects images on several threads, and prints a line for each: its name, score, verdict and first defect region.
 *
 *     inspect MODEL IMAGE...
 *
 * docs/c.md has the commands that build it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "dualad.h"

enum { THREADS = 4, MESSAGE = 512 };

/* The answer for an image. */
struct answer {
    float score;
    DualadVerdict verdict;
    size_t regions;
    DualadRegion worst;
    int failed;
    char message[MESSAGE];
};

/* The work that the threads share. */
struct work {
    const DualadDetector *detector;
    char **images;
    size_t count;
    struct answer *answers;
    atomic_size_t next;
};

static void inspect(const DualadDetector *detector, const char *image, struct answer *answer) {
    DualadInspection *found = NULL;
    if (dualad_inspect_file(detector, image, NULL, &found) != DUALAD_STATUS_OK) {
        /* The text belongs to this thread: it is copied for the one that prints. */
        answer->failed = 1;
        snprintf(answer->message, sizeof answer->message, "%s", dualad_last_error_message());
        return;
    }
    answer->score = dualad_inspection_score(found);
    answer->verdict = dualad_inspection_verdict(found);
    answer->regions = dualad_inspection_region_count(found);
    if (answer->regions > 0) {
        dualad_inspection_region(found, 0, &answer->worst);
    }
    dualad_inspection_free(found);
}

static void *run(void *argument) {
    struct work *work = argument;
    for (;;) {
        size_t index = atomic_fetch_add(&work->next, 1);
        if (index >= work->count) {
            return NULL;
        }
        inspect(work->detector, work->images[index], &work->answers[index]);
    }
}

int main(int argc, char **argv) {
    static const char *const verdicts[] = {"no thresholds", "accept", "review", "reject"};
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL IMAGE...\n", argv[0]);
        return 2;
    }
    DualadDetector *detector = NULL;
    if (dualad_detector_load(argv[1], NULL, &detector) != DUALAD_STATUS_OK) {
        fprintf(stderr, "%s\n", dualad_last_error_message());
        return 1;
    }
    struct work work = {.detector = detector, .images = argv + 2, .count = (size_t)argc - 2};
    work.answers = calloc(work.count, sizeof *work.answers);
    pthread_t threads[THREADS];
    int started = 0, errors = 0, failed = work.answers == NULL;
    while (!failed && started < THREADS && pthread_create(&threads[started], NULL, run, &work) == 0) {
        started++;
    }
    failed |= started == 0;
    while (started > 0) {
        pthread_join(threads[--started], NULL);
    }
    /* No thread uses the detector any more. */
    dualad_detector_free(detector);
    for (size_t index = 0; !failed && index < work.count; index++) {
        const struct answer *answer = &work.answers[index];
        if (answer->failed) {
            printf("%s: error: %s\n", work.images[index], answer->message);
            errors++;
            continue;
        }
        /* Nine digits tell any two values of type float apart. */
        printf("%s: %.9g %s", work.images[index], answer->score, verdicts[answer->verdict]);
        if (answer->regions > 0) {
            const DualadRegion *worst = &answer->worst;
            printf(", %ux%u at %u,%u", worst->width, worst->height, worst->x, worst->y);
        }
        printf("\n");
    }
    free(work.answers);
    return failed || errors > 0;
}
