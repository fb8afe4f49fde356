import type { FitOptions, HeatMap, Inspection, ModelFiles, Pixels, Progress, TrainingImage } from "./dualad_web.js";

/** What is known of a model. */
export interface ModelInfo {
    categories: string[];
    backbone: string;
    hasThresholds: boolean;
    /** The precision of the scores: that of the model's thresholds. */
    precision: "f32" | "int8";
}

/** An inspection, and the milliseconds that it took in the worker. */
export type TimedInspection = Inspection & { milliseconds: number };

/** A detector in a worker. The methods are those of `Detector`, each with a promise. Calls are answered in their order. */
export class DetectorWorker {
    /** What is known of the model; `null` before one is loaded. */
    info: ModelInfo | null;
    /** Starts a worker without a model. */
    constructor();
    /** Loads a model from the bytes of its files. */
    static fromBytes(files: ModelFiles): Promise<DetectorWorker>;
    /** Trains a model on images of good parts. */
    static fit(images: TrainingImage[], options?: FitOptions, progress?: Progress): Promise<DetectorWorker>;
    /** Loads another model into this worker. If that fails, the earlier one stays. */
    load(files: ModelFiles): Promise<void>;
    /** Trains a model in this worker. If that fails, the earlier one stays. */
    fit(images: TrainingImage[], options?: FitOptions, progress?: Progress): Promise<void>;
    /** Inspects pixels. */
    inspect(image: Pixels, category?: string | null): Promise<TimedInspection>;
    /** Inspects the content of an image file: png, jpeg, webp or bmp. `name` is its name in messages. */
    inspectFile(bytes: Uint8Array, name: string, category?: string | null): Promise<TimedInspection>;
    /** Returns the colors of an inspection's anomaly map, at the image's size or the given one. */
    heatMap(inspection: Inspection, width?: number, height?: number): Promise<HeatMap>;
    /** Returns the files of the model, to keep them or to load them elsewhere. The backbone's weights are not among them. */
    toBytes(): Promise<ModelFiles>;
    /** Ends the worker. Calls without an answer fail. */
    close(): void;
}
