// The page's own script, in a file because the Content-Security-Policy allows none inside the page.

// How many rows deep an answer is shown: an order, its lines. What these are related to is shown by name.
const DEEP = 2;

function at(document, path) {
  return path.reduce((value, key) => value?.[key], document);
}

// Swagger UI reads the whole document again for each operation that is opened, and follows all that its answer leads to.
// This follows references as far as people read.
function resolved(value, document, deep) {
  if (Array.isArray(value)) return value.map((each) => resolved(each, document, deep));
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$ref === "string") {
    const path = value.$ref.slice(2).split("/");
    const name = path[path.length - 1];
    const { $ref, ...beside } = value;
    if (path[1] !== "schemas") return { ...resolved(at(document, path), document, deep), ...beside };
    if (deep === 0) return { type: "object", title: name, ...beside };
    return { title: name, ...resolved(at(document, path), document, deep - 1), ...beside };
  }
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, resolved(each, document, deep)]));
}

function resolving(document) {
  // Swagger UI's own action also makes all that was resolved before anew.
  const requestResolvedSubtree = (_original, system) => (path) => {
    // A list of all schemas shows each by itself.
    const deep = path[0] === "components" ? 0 : DEEP;
    return system.specActions.updateResolvedSubtree(path, resolved(at(document, path), document, deep));
  };
  return { statePlugins: { spec: { wrapActions: { requestResolvedSubtree } } } };
}

async function start() {
  const spec = await (await fetch("openapi.json")).json();
  window.ui = SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    deepLinking: true,
    docExpansion: "none",
    defaultModelsExpandDepth: 0,
    filter: true,
    validatorUrl: null,
    withCredentials: true,
    plugins: [resolving(spec)],
  });
}

start();
