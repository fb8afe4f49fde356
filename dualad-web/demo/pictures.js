// Pictures: a bitmap to show, and bytes or pixels to inspect.

/** The formats that the module decodes itself, so that the scores are those of the program `dualad`. */
const DECODED = ["image/png", "image/jpeg", "image/webp", "image/bmp"];

/** Returns the pixels of a bitmap. */
export function toPixels(bitmap) {
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/** Returns a picture: its bitmap, and its bytes where the module decodes them, its pixels otherwise or if they are wanted. */
export async function withPicture(blob, name, wantsPixels = false) {
    const bitmap = await createImageBitmap(blob);
    const decoded = DECODED.includes(blob.type) && !wantsPixels;
    return {
        name,
        bitmap,
        bytes: decoded ? new Uint8Array(await blob.arrayBuffer()) : null,
        pixels: decoded ? null : toPixels(bitmap),
    };
}
