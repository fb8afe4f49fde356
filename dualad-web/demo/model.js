// The files of a model: chosen by the user, or from a folder beside the page.

const BACKBONE = "backbone.safetensors";

/** Returns the bytes of a model's files that the user chose. Any further safetensors file is taken for the backbone's weights. */
export async function readModel(files) {
    const named = (name) => files.find((file) => file.name === name);
    const others = files.filter((file) => file.name.endsWith(".safetensors") && file.name !== "model.safetensors");
    const [config, parameters] = [named("config.json"), named("model.safetensors")];
    if (!config || !parameters) {
        const missing = config ? "model.safetensors" : "config.json";
        throw new Error(`${missing} is missing: choose config.json, model.safetensors and calibration.json of a model’s folder together`);
    }
    const bytes = async (file) => (file ? new Uint8Array(await file.arrayBuffer()) : undefined);
    return {
        config: await bytes(config),
        parameters: await bytes(parameters),
        calibration: await bytes(named("calibration.json")),
        backbone: await bytes(named(BACKBONE) ?? others[0]),
    };
}

/** Returns the bytes of the model in a folder of the server, or `null` if there is none. */
export async function fetchModel(folder) {
    const index = await fetch(`${folder}index.json`).catch(() => null);
    if (!index?.ok) return null;
    const { files } = await index.json();
    const bytes = async (name) => {
        if (!files.includes(name)) return undefined;
        const response = await fetch(folder + name);
        if (!response.ok) throw new Error(`${folder}${name} cannot be fetched: status ${response.status}`);
        return new Uint8Array(await response.arrayBuffer());
    };
    const [config, parameters, calibration, backbone] = await Promise.all(
        ["config.json", "model.safetensors", "calibration.json", BACKBONE].map(bytes),
    );
    return { config, parameters, calibration, backbone };
}

/** Offers a model's files as downloads. */
export async function saveModel({ config, parameters, calibration }) {
    const named = { "config.json": config, "model.safetensors": parameters, "calibration.json": calibration };
    for (const [name, bytes] of Object.entries(named)) {
        if (!bytes) continue;
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
        link.download = name;
        link.click();
        // A browser takes downloads that begin together for one, and reads a file some time after the click.
        await new Promise((resolve) => setTimeout(resolve, 500));
        URL.revokeObjectURL(link.href);
    }
}
