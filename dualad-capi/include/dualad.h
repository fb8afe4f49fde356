/* dualad: visual anomaly detection. The C interface.
 *
 * Written by cbindgen from the sources of dualad-capi. docs/c.md is the guide.
 *
 * Rules for all functions:
 *
 * - Text is UTF-8 and ends with a zero byte. Text that is returned belongs to the library.
 * - A function with a DualadStatus returns DUALAD_STATUS_OK, or the kind of the error. In every other case
 *   dualad_last_error_message() has the text.
 * - Any pointer may be NULL. Where this is not allowed, the function fails with DUALAD_STATUS_INVALID_ARGUMENT, or returns the value
 *   that its comment states. A pointer that is not NULL must be valid: aligned, and to as much memory as the comment states.
 * - A function that makes an object sets the caller's pointer to NULL if it fails. Every object is freed by the function of its type,
 *   once, when no other thread uses it. Freeing it twice, or using it afterwards, is undefined.
 * - Memory that the caller passes is read during the call only.
 * - A DualadDetector and a DualadInspection can be used by any number of threads at the same time; a DualadOptions by one at a time.
 * - No exception or panic leaves a function. An error inside the library is DUALAD_STATUS_INTERNAL.
 */

#ifndef DUALAD_H
#define DUALAD_H

#include <stddef.h>
#include <stdint.h>

/*
 The version of the binary interface that this header describes. It is raised when a program that was built with an earlier header
 would no longer work. New functions and new values of enumerations do not raise it.
 */
#define DUALAD_ABI_VERSION 1

/*
 The result of a function, by the part of the system that is at fault.
 */
enum DualadStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /*
   The function has done its work.
   */
  DUALAD_STATUS_OK = 0,
  /*
   An argument is NULL, not UTF-8, out of its range, or does not match the others.
   */
  DUALAD_STATUS_INVALID_ARGUMENT = 1,
  /*
   An image cannot be decoded, or exceeds the limits.
   */
  DUALAD_STATUS_IMAGE = 2,
  /*
   A file of the model cannot be used: damaged, of another version, or of another model.
   */
  DUALAD_STATUS_MODEL = 3,
  /*
   Computed values overflowed.
   */
  DUALAD_STATUS_NUMERIC = 4,
  /*
   The operating system refused something: a file cannot be read, or there is no memory.
   */
  DUALAD_STATUS_SYSTEM = 5,
  /*
   The device that computes failed.
   */
  DUALAD_STATUS_DEVICE = 6,
  /*
   The work was cancelled.
   */
  DUALAD_STATUS_CANCELLED = 7,
  /*
   An error inside the library. Please report it with its text.
   */
  DUALAD_STATUS_INTERNAL = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum DualadStatus DualadStatus;
#else
typedef int32_t DualadStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 The origin of thresholds.
 */
enum DualadThresholdSource
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /*
   There are no thresholds.
   */
  DUALAD_THRESHOLD_SOURCE_NONE = 0,
  /*
   The category has thresholds of its own.
   */
  DUALAD_THRESHOLD_SOURCE_CATEGORY = 1,
  /*
   The thresholds of all categories together; no category was named.
   */
  DUALAD_THRESHOLD_SOURCE_POOLED = 2,
  /*
   The thresholds of all categories together: the category that was named has none of its own, or is not known.
   */
  DUALAD_THRESHOLD_SOURCE_POOLED_INSTEAD = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum DualadThresholdSource DualadThresholdSource;
#else
typedef int32_t DualadThresholdSource;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 The decision on an image.
 */
enum DualadVerdict
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /*
   There are no thresholds, and so there is no decision.
   */
  DUALAD_VERDICT_NONE = 0,
  /*
   The image is normal.
   */
  DUALAD_VERDICT_ACCEPT = 1,
  /*
   A person has to decide.
   */
  DUALAD_VERDICT_REVIEW = 2,
  /*
   The image is anomalous.
   */
  DUALAD_VERDICT_REJECT = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum DualadVerdict DualadVerdict;
#else
typedef int32_t DualadVerdict;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 The bytes of a pixel.
 */
enum DualadPixelFormat
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /*
   One byte: a gray level.
   */
  DUALAD_PIXEL_FORMAT_GRAY8 = 1,
  /*
   Three bytes: red, green, blue.
   */
  DUALAD_PIXEL_FORMAT_RGB8 = 2,
  /*
   Three bytes: blue, green, red, as in OpenCV.
   */
  DUALAD_PIXEL_FORMAT_BGR8 = 3,
  /*
   Four bytes: red, green, blue, and one that is not used.
   */
  DUALAD_PIXEL_FORMAT_RGBA8 = 4,
  /*
   Four bytes: blue, green, red, and one that is not used, in the order of Windows' bitmaps. The first row is the upper one.
   */
  DUALAD_PIXEL_FORMAT_BGRA8 = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum DualadPixelFormat DualadPixelFormat;
#else
typedef int32_t DualadPixelFormat;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/*
 A loaded model, ready to inspect images from any number of threads.
 */
typedef struct DualadDetector DualadDetector;

/*
 The result of an inspection. It never changes, and does not need the detector any more.
 */
typedef struct DualadInspection DualadInspection;

/*
 Settings for loading a model. They are copied by the functions that load one.
 */
typedef struct DualadOptions DualadOptions;

/*
 Thresholds. An image is accepted if its score is below `review`, rejected if it is at least `reject`, and otherwise has to be
 reviewed by a person.
 */
typedef struct {
  /*
   The image score from which on an image is reviewed. NaN if there are no thresholds.
   */
  float review;
  /*
   The image score from which on an image is rejected; at least `review`. NaN if there are no thresholds.
   */
  float reject;
  /*
   The value of the anomaly map from which on a pixel belongs to a defect region. NaN if there are no thresholds.
   */
  float region;
  /*
   The origin.
   */
  DualadThresholdSource source;
} DualadThresholds;

/*
 A defect region, in pixels of the image. Pixel (0, 0) is the upper left one.
 */
typedef struct {
  /*
   The first column of the smallest rectangle around it.
   */
  uint32_t x;
  /*
   The first row of the rectangle.
   */
  uint32_t y;
  /*
   The number of columns of the rectangle.
   */
  uint32_t width;
  /*
   The number of rows of the rectangle.
   */
  uint32_t height;
  /*
   The area in pixels, with fractions.
   */
  double area;
  /*
   The mean of its pixels' centers: the horizontal coordinate, from 0 to the image's width.
   */
  double centroid_x;
  /*
   The mean of its pixels' centers: the vertical coordinate, from 0 to the image's height.
   */
  double centroid_y;
  /*
   The mean value of the anomaly map.
   */
  double mean;
  /*
   The largest value of the anomaly map.
   */
  float peak;
  /*
   The column of the largest value.
   */
  uint32_t peak_x;
  /*
   The row of the largest value.
   */
  uint32_t peak_y;
  /*
   Zero. It makes the size a multiple of 8 bytes, so that there is no padding for other languages to imitate.
   */
  uint32_t reserved;
} DualadRegion;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Returns the version of the library, such as `0.1.0`. The text is valid as long as the library is loaded.
 */
const char *dualad_version(void);

/*
 Returns the version of the library's binary interface. A program that loads the library at run time compares it with
 `DUALAD_ABI_VERSION` of its header.
 */
uint32_t dualad_abi_version(void);

/*
 Returns the text of the last error of this thread, or an empty text; never NULL. It names the value, file or field at fault and
 says what to do.

 The text is valid until the next error in this thread, or the end of the thread. A call without an error leaves it unchanged.
 */
const char *dualad_last_error_message(void);

/*
 Makes settings, all with their defaults. Free them with `dualad_options_free`. Returns NULL if it fails.
 */
DualadOptions *dualad_options_new(void);

/*
 Frees settings. NULL is allowed. Detectors that were loaded with them are not affected.
 */
void dualad_options_free(DualadOptions *options);

/*
 Sets the number of threads that a detector computes on: 1 to 1024, threads of its own, which end with the detector. 0, the default,
 is threads that all detectors share, one for each core. The number is checked when a model is loaded.

 Callers of the same threads take turns in the order in which they came: one at a time, or one for each 4 threads.
 */
DualadStatus dualad_options_set_threads(DualadOptions *options,
                                        uint32_t threads);

/*
 Sets the file of the backbone's weights, a safetensors or PyTorch file. NULL, the default: the file in the model's folder, or else
 the file that its configuration names. They must be the weights that the model was trained with; their digest is compared. A model
 whose backbone has no weights is not loaded with such settings.
 */
DualadStatus dualad_options_set_weights(DualadOptions *options,
                                        const char *weights);

/*
 Sets the largest image in pixels, width times height. Default: 100 million. Above the default, the limits of a file's size and of
 the memory for decoding grow with it. A larger image is refused with DUALAD_STATUS_IMAGE before memory is taken. 0 is refused.
 */
DualadStatus dualad_options_set_max_pixels(DualadOptions *options,
                                           uint64_t pixels);

/*
 Sets the selection of the defect regions: their least area in pixels of the anomaly map (default: 1), and the most that are listed,
 the most severe first (default: 100).
 */
DualadStatus dualad_options_set_regions(DualadOptions *options,
                                        uint64_t min_area,
                                        size_t max_regions);

/*
 Loads the folder of a trained model. `folder` is its path; `options` may be NULL for the default settings. Free the detector with
 `dualad_detector_free`.

 Errors: DUALAD_STATUS_MODEL for a folder without a model and for files that cannot be used, DUALAD_STATUS_SYSTEM for files that
 cannot be read.
 */
DualadStatus dualad_detector_load(const char *folder,
                                  const DualadOptions *options,
                                  DualadDetector **detector);

/*
 Loads a model from memory, without access to files. Each file has a pointer and its length in bytes: `config` is the content of
 `config.json`, `parameters` that of `model.safetensors`. `backbone`, the file of the backbone's weights, is NULL for a backbone
 without weights, and if `dualad_options_set_weights` names a file. `calibration`, the content of `calibration.json`, is NULL for no
 thresholds. The memory may be freed after the call. Free the detector with `dualad_detector_free`.

 Errors: DUALAD_STATUS_MODEL for files that cannot be used.
 */
DualadStatus dualad_detector_load_memory(const uint8_t *config,
                                         size_t config_length,
                                         const uint8_t *parameters,
                                         size_t parameters_length,
                                         const uint8_t *backbone,
                                         size_t backbone_length,
                                         const uint8_t *calibration,
                                         size_t calibration_length,
                                         const DualadOptions *options,
                                         DualadDetector **detector);

/*
 Frees a detector, and its threads if it has some of its own. NULL is allowed. No other thread may use the detector any more.
 Results of its inspections stay valid.
 */
void dualad_detector_free(DualadDetector *detector);

/*
 Returns the number of categories (products) that the model was trained on; 0 for NULL.
 */
size_t dualad_detector_category_count(const DualadDetector *detector);

/*
 Returns the name of a category, `index` from 0; NULL if `index` is too large or the detector is NULL. The text is valid until the
 detector is freed.
 */
const char *dualad_detector_category(const DualadDetector *detector,
                                     size_t index);

/*
 Reads the thresholds that decide on images of a category; `category` is NULL for images without one. Without thresholds the status
 is DUALAD_STATUS_OK and `thresholds->source` is DUALAD_THRESHOLD_SOURCE_NONE.
 */
DualadStatus dualad_detector_thresholds(const DualadDetector *detector,
                                        const char *category,
                                        DualadThresholds *thresholds);

/*
 Replaces the thresholds of a category that the model was trained on, or for `category` NULL the pooled ones, which decide on images
 without a category and of categories without thresholds. The model's folder is not changed.

 `review` must be at most `reject`. All are finite and at least 0; `region` may be NaN for the value of `review`. Other threads may
 inspect meanwhile: an inspection that has begun is decided by the thresholds that it began with.
 */
DualadStatus dualad_detector_set_thresholds(const DualadDetector *detector,
                                            const char *category,
                                            float review,
                                            float reject,
                                            float region);

/*
 Removes all thresholds. Inspections then have a score and no verdict. Other threads may inspect meanwhile.
 */
DualadStatus dualad_detector_clear_thresholds(const DualadDetector *detector);

/*
 Inspects an image in memory, such as a camera's buffer of `length` bytes at `pixels`. Rows follow each other from top to bottom,
 `stride` bytes from the start of one to the start of the next; 0 is rows without gaps. `format` is a DualadPixelFormat. The buffer
 may be longer than the image; the last row needs no gap. `category` may be NULL; it selects the thresholds, and does not affect the
 score. Free the inspection with `dualad_inspection_free`.

 Errors: DUALAD_STATUS_INVALID_ARGUMENT if size, stride and format do not match the buffer; DUALAD_STATUS_IMAGE for an image above
 the limit of pixels.
 */
DualadStatus dualad_inspect_buffer(const DualadDetector *detector,
                                   const uint8_t *pixels,
                                   size_t length,
                                   uint32_t width,
                                   uint32_t height,
                                   size_t stride,
                                   int32_t format,
                                   const char *category,
                                   DualadInspection **inspection);

/*
 Inspects the content of an image file of `length` bytes: png, jpg, bmp, tiff, webp, gif or pnm. `category` is as for
 `dualad_inspect_buffer`. Free the inspection with `dualad_inspection_free`.

 Errors: DUALAD_STATUS_IMAGE for an image that cannot be decoded or exceeds the limits.
 */
DualadStatus dualad_inspect_encoded(const DualadDetector *detector,
                                    const uint8_t *encoded,
                                    size_t length,
                                    const char *category,
                                    DualadInspection **inspection);

/*
 Inspects an image file. `file` is its path. `category` is as for `dualad_inspect_buffer`. Free the inspection with
 `dualad_inspection_free`.

 Errors: DUALAD_STATUS_SYSTEM for a file that cannot be read, DUALAD_STATUS_IMAGE for one that cannot be decoded or exceeds the
 limits.
 */
DualadStatus dualad_inspect_file(const DualadDetector *detector,
                                 const char *file,
                                 const char *category,
                                 DualadInspection **inspection);

/*
 Frees an inspection, with its anomaly map. NULL is allowed. No other thread may use it any more.
 */
void dualad_inspection_free(DualadInspection *inspection);

/*
 Returns the image score, from 0 to 1e18; larger is more anomalous. It is not a probability. NaN for NULL.
 */
float dualad_inspection_score(const DualadInspection *inspection);

/*
 Returns the decision; DUALAD_VERDICT_NONE if the detector had no thresholds, and for NULL.
 */
DualadVerdict dualad_inspection_verdict(const DualadInspection *inspection);

/*
 Reads the thresholds that decided. `thresholds->source` tells whether the image's category was found; it is
 DUALAD_THRESHOLD_SOURCE_NONE if the detector had no thresholds.
 */
DualadStatus dualad_inspection_thresholds(const DualadInspection *inspection,
                                          DualadThresholds *thresholds);

/*
 Returns the number of columns of the image; 0 for NULL.
 */
uint32_t dualad_inspection_width(const DualadInspection *inspection);

/*
 Returns the number of rows of the image; 0 for NULL.
 */
uint32_t dualad_inspection_height(const DualadInspection *inspection);

/*
 Reads the anomaly map at its own size, that of the network's input: `height` rows of `width` values, from 0 to 1e18; larger is more
 anomalous. The values at `values` belong to the inspection, and are valid until it is freed.
 */
DualadStatus dualad_inspection_map(const DualadInspection *inspection,
                                   const float **values,
                                   size_t *width,
                                   size_t *height);

/*
 Copies the anomaly map to the caller's array of `length` values, resized to `height` rows of `width` values (bilinear), such as the
 size of the image. At its own size the values are copied as they are.

 Errors: DUALAD_STATUS_INVALID_ARGUMENT if the array has fewer than `width * height` values; nothing is then written.
 */
DualadStatus dualad_inspection_copy_map(const DualadInspection *inspection,
                                        uint32_t width,
                                        uint32_t height,
                                        float *values,
                                        size_t length);

/*
 Returns the number of defect regions that are listed. 0 if the detector had no thresholds, and for NULL.
 */
size_t dualad_inspection_region_count(const DualadInspection *inspection);

/*
 Returns the number of less severe regions that are not listed (`dualad_options_set_regions`); 0 for NULL.
 */
size_t dualad_inspection_regions_left_out(const DualadInspection *inspection);

/*
 Reads a defect region, `index` from 0; the most severe is the first.
 */
DualadStatus dualad_inspection_region(const DualadInspection *inspection,
                                      size_t index,
                                      DualadRegion *region);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* DUALAD_H */
