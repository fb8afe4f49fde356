// Inspects images on several threads, and prints a line for each: its name, score, verdict and first defect region.
//
//     inspect MODEL IMAGE...
//
// docs/c.md has the commands that build it. The classes of the namespace `dualad` own the objects of the C interface.

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dualad.h"

namespace dualad {

// An error of the library: its kind, and its text.
class Error : public std::runtime_error {
public:
    explicit Error(DualadStatus status) : std::runtime_error(dualad_last_error_message()), status(status) {}
    DualadStatus status;
};

inline void check(DualadStatus status) {
    if (status != DUALAD_STATUS_OK) {
        throw Error(status);
    }
}

struct Free {
    void operator()(DualadDetector *detector) const { dualad_detector_free(detector); }
    void operator()(DualadInspection *inspection) const { dualad_inspection_free(inspection); }
    void operator()(DualadOptions *options) const { dualad_options_free(options); }
};

// The result of an inspection.
class Inspection {
public:
    explicit Inspection(DualadInspection *found) : found(found) {}
    float score() const { return dualad_inspection_score(found.get()); }
    DualadVerdict verdict() const { return dualad_inspection_verdict(found.get()); }
    std::vector<DualadRegion> regions() const {
        std::vector<DualadRegion> regions(dualad_inspection_region_count(found.get()));
        for (std::size_t index = 0; index < regions.size(); index++) {
            check(dualad_inspection_region(found.get(), index, &regions[index]));
        }
        return regions;
    }

private:
    std::unique_ptr<DualadInspection, Free> found;
};

// A loaded model. Its constant functions can be called by any number of threads at the same time.
class Detector {
public:
    explicit Detector(const std::string &folder, unsigned threads = 0) {
        std::unique_ptr<DualadOptions, Free> options(dualad_options_new());
        check(dualad_options_set_threads(options.get(), threads));
        DualadDetector *loaded = nullptr;
        check(dualad_detector_load(folder.c_str(), options.get(), &loaded));
        detector.reset(loaded);
    }

    // Inspects the content of an image file.
    Inspection inspect(const std::vector<unsigned char> &encoded) const {
        DualadInspection *found = nullptr;
        check(dualad_inspect_encoded(detector.get(), encoded.data(), encoded.size(), nullptr, &found));
        return Inspection(found);
    }

private:
    std::unique_ptr<DualadDetector, Free> detector;
};

} // namespace dualad

static std::vector<unsigned char> read(const std::string &path) {
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    std::vector<unsigned char> content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (!file.is_open() || file.bad()) {
        throw std::runtime_error("cannot read " + path + ": " + (errno != 0 ? std::strerror(errno) : "unknown cause"));
    }
    return content;
}

static std::string line(const dualad::Detector &detector, const std::string &image) {
    static const char *const verdicts[] = {"no thresholds", "accept", "review", "reject"};
    const dualad::Inspection found = detector.inspect(read(image));
    char text[128];
    // Nine digits tell any two values of type float apart.
    std::snprintf(text, sizeof text, ": %.9g %s", found.score(), verdicts[found.verdict()]);
    std::string line = image + text;
    const std::vector<DualadRegion> regions = found.regions();
    if (!regions.empty()) {
        const DualadRegion &worst = regions.front();
        std::snprintf(text, sizeof text, ", %ux%u at %u,%u", worst.width, worst.height, worst.x, worst.y);
        line += text;
    }
    return line;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: %s MODEL IMAGE...\n", argv[0]);
        return 2;
    }
    try {
        const dualad::Detector detector(argv[1], 2);
        const std::vector<std::string> images(argv + 2, argv + argc);
        std::vector<std::string> lines(images.size());
        std::atomic<std::size_t> next{0};
        std::atomic<bool> failed{false};
        std::vector<std::thread> threads;
        for (int thread = 0; thread < 4; thread++) {
            threads.emplace_back([&] {
                for (std::size_t index = next++; index < images.size(); index = next++) {
                    try {
                        lines[index] = line(detector, images[index]);
                    } catch (const std::exception &error) {
                        lines[index] = images[index] + ": error: " + error.what();
                        failed = true;
                    }
                }
            });
        }
        for (std::thread &thread : threads) {
            thread.join();
        }
        for (const std::string &line : lines) {
            std::puts(line.c_str());
        }
        return failed ? 1 : 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
