// A file server for the checks.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";

const TYPES = {
    ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".json": "application/json",
    ".wasm": "application/wasm", ".png": "image/png", ".svg": "image/svg+xml",
};

/** Serves a folder, and further pages by their paths. Returns the server's address and a function that ends it. */
export async function serve(folder, pages = new Map()) {
    const server = createServer(async ({ url }, response) => {
        const path = decodeURIComponent(new URL(url, "http://localhost").pathname);
        const file = normalize(path.endsWith("/") ? `${path}index.html` : path);
        const content = pages.get(path) ?? (await readFile(join(folder, file)).catch(() => null));
        response.writeHead(content === null ? 404 : 200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
        response.end(content ?? "not found");
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    return { url: `http://localhost:${server.address().port}/`, close: () => server.close() };
}
