// A detector in a worker: the page stays alive while it computes.

/** A detector in a worker. The methods are those of `Detector`, each with a promise. Calls are answered in their order. */
export class DetectorWorker {
    #worker;
    #pending = new Map();
    #next = 0;
    #ended = null;
    /** What is known of the model: its categories, its backbone, and whether it has thresholds. */
    info = null;

    constructor() {
        this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "dualad" });
        this.#worker.onmessage = ({ data }) => this.#answer(data);
        this.#worker.onerror = (event) => {
            event.preventDefault?.();
            this.#end(fault("system", `the worker cannot run: ${event.message || "worker.js or the module is missing"}`));
        };
    }

    /** Loads a model from the bytes of its files. */
    static async fromBytes(files) {
        return DetectorWorker.#made((worker) => worker.load(files));
    }

    /** Trains a model on images of good parts. */
    static async fit(images, options, progress) {
        return DetectorWorker.#made((worker) => worker.fit(images, options, progress));
    }

    static async #made(make) {
        const worker = new DetectorWorker();
        try {
            await make(worker);
            return worker;
        } catch (error) {
            worker.close();
            throw error;
        }
    }

    /** Loads another model into this worker. If that fails, the earlier one stays. */
    async load(files) {
        this.info = await this.#call("load", [files]);
    }

    /** Trains a model in this worker. If that fails, the earlier one stays. */
    async fit(images, options, progress) {
        this.info = await this.#call("fit", [images, options], progress);
    }

    /** Inspects pixels. The result has the milliseconds that it took, too. */
    inspect(image, category) {
        const pixels = image && { width: image.width, height: image.height, data: image.data };
        return this.#call("inspect", [pixels, category]);
    }

    /** Inspects the content of an image file: png, jpeg, webp or bmp. */
    inspectFile(bytes, name, category) {
        return this.#call("inspectFile", [bytes, name, category]);
    }

    /** Returns the colors of an inspection's anomaly map. */
    heatMap(inspection, width, height) {
        return this.#call("heatMap", [inspection, width, height]);
    }

    /** Returns the files of the model, without the backbone's weights. */
    toBytes() {
        return this.#call("toBytes", []);
    }

    /** Ends the worker. Calls without an answer fail. */
    close() {
        this.#end(fault("cancelled", "the detector was closed"));
    }

    #call(method, args, progress) {
        if (this.#ended) return Promise.reject(this.#ended);
        const id = this.#next++;
        return new Promise((resolve, reject) => {
            this.#pending.set(id, { resolve, reject, progress });
            try {
                this.#worker.postMessage({ id, method, args });
            } catch (error) {
                this.#pending.delete(id);
                reject(fault("input", `an argument cannot be sent to the worker: ${error.message}`));
            }
        });
    }

    #answer({ id, value, error, progress }) {
        const call = this.#pending.get(id);
        if (!call) return;
        if (progress) {
            call.progress?.(...progress);
            return;
        }
        this.#pending.delete(id);
        if (!error) {
            call.resolve(value);
            return;
        }
        call.reject(fault(error.kind, error.message));
        // The module's memory cannot be trusted any more.
        if (error.fatal) this.#end(fault(error.kind, error.message));
    }

    #end(error) {
        this.#ended ??= error;
        this.#worker.terminate();
        for (const { reject } of this.#pending.values()) reject(this.#ended);
        this.#pending.clear();
    }
}

function fault(kind, message) {
    const error = new Error(message);
    error.name = "DualadError";
    error.kind = kind;
    return error;
}
