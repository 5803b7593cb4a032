// The page's own script, in a file because the Content-Security-Policy allows none inside the page.

// Swagger UI resolves all that an operation's answer leads to before it shows anything, which for an order is thousands
// of schemas. So a row's relations name their schema here instead of referring to it; the document itself refers.
function named(schema) {
  if (Array.isArray(schema)) return schema.map(named);
  if (schema === null || typeof schema !== "object") return schema;
  if (typeof schema.$ref === "string") {
    return { type: "object", title: schema.$ref.split("/").pop(), description: schema.description };
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, named(value)]));
}

function bodiesIn(value, schemas, found) {
  if (Array.isArray(value)) value.forEach((each) => bodiesIn(each, schemas, found));
  else if (value !== null && typeof value === "object") {
    const name = typeof value.$ref === "string" ? value.$ref.split("/").pop() : null;
    if (name !== null && !found.has(name)) {
      found.add(name);
      bodiesIn(schemas[name], schemas, found);
    }
    Object.values(value).forEach((each) => bodiesIn(each, schemas, found));
  }
  return found;
}

async function start() {
  const spec = await (await fetch("openapi.json")).json();
  const schemas = spec.components.schemas;
  const bodies = new Set();
  for (const item of Object.values(spec.paths)) {
    for (const operation of Object.values(item)) bodiesIn(operation.requestBody ?? null, schemas, bodies);
  }
  for (const name of Object.keys(schemas)) {
    if (!bodies.has(name)) schemas[name] = named(schemas[name]);
  }
  window.ui = SwaggerUIBundle({
    spec,
    dom_id: "#swagger-ui",
    deepLinking: true,
    docExpansion: "none",
    filter: true,
    validatorUrl: null,
    withCredentials: true,
  });
}

start();
