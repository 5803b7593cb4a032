// The page's own script, in a file because the Content-Security-Policy allows none inside the page.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  validatorUrl: null,
  withCredentials: true,
});
