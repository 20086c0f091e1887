// Runs the packed scripts of the page, one after another. The page's policy allows only these, by their
// hashes.
const policy = /** @type {any} */ (globalThis).trustedTypes?.createPolicy("packed", {
  createScript: (/** @type {string} */ text) => text,
});
/** @type {string[]} */
const scripts = JSON.parse(document.getElementById("packed")?.textContent ?? "[]");
for (const packed of scripts) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(stream).text();
  const script = document.createElement("script");
  script.type = "module";
  script.textContent = policy ? policy.createScript(text) : text;
  document.body.append(script);
}

export {};
