// A server made from OpenAPI documents, to hold the requests of the providers against what the vendors publish. Not part of any test that runs by itself;
// see docs/providers/CONTRACTS.md.
//
//   node openapi-mock.js PORT DOCUMENT...        (JSON or YAML; port 0 takes a free one)
//
// A request is held against the document that has its path: method, parameters, credentials, media type and body; a parameter that is in no document, and a
// field that is in none, is refused too. The answer is the first documented one, the document's own example or one made of its schema. A vendor's
// `*/*` is answered as JSON. With PATHS, a regular expression, the other paths are passed over, because some documents have thousands. On its standard
// output: the port, then a line for each request, `taken` or `refused` with the reason.
const fs = require('fs');
const express = require('express');
const validator = require('express-openapi-validator');
const parser = require('@apidevtools/json-schema-ref-parser');
const sampler = require('openapi-sampler');
const yaml = require('js-yaml');

const [port, ...documents] = process.argv.slice(2);
const copy = (value) => JSON.parse(JSON.stringify(value));

// No request body takes a field that is not described. What is put together by `allOf`, `oneOf` or `anyOf` stays open: a part does not know the others.
function close(schema) {
  if (!schema || typeof schema !== 'object') return;
  if (schema.properties && !schema.allOf && !schema.oneOf && !schema.anyOf && schema.additionalProperties === undefined) schema.additionalProperties = false;
  Object.values(schema.properties || {}).forEach(close);
  close(schema.items);
}

// The paths that are asked for, and what they refer to.
function only(document, paths) {
  const { openapi, info, security } = document;
  const asked = Object.entries(document.paths).filter(([path]) => paths.test(path));
  const kept = { openapi, info, security, paths: Object.fromEntries(asked), components: {} };
  const { securitySchemes } = document.components || {};
  if (securitySchemes) kept.components.securitySchemes = securitySchemes;
  const follow = (value) => {
    if (!value || typeof value !== 'object') return;
    const [, kind, name] = (typeof value.$ref === 'string' && /^#\/components\/([^/]+)\/([^/]+)$/.exec(value.$ref)) || [];
    const known = name && kept.components[kind] && name in kept.components[kind];
    if (name && !known) {
      kept.components[kind] = { ...kept.components[kind], [name]: document.components[kind][name] };
      follow(kept.components[kind][name]);
    }
    Object.values(value).forEach(follow);
  };
  follow(kept.paths);
  return copy(kept);
}

function pattern(path) {
  return new RegExp(`^${path.split(/\{[^}]+\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('[^/]+')}$`);
}

function presented(request, scheme) {
  const header = request.headers.authorization || '';
  if (scheme.type === 'http' && scheme.scheme === 'basic') return /^Basic \S+$/.test(header) && Buffer.from(header.slice(6), 'base64').includes(':');
  if (scheme.type === 'oauth2' || scheme.type === 'http') return /^Bearer \S+$/.test(header);
  return Boolean(scheme.in === 'header' ? request.headers[scheme.name.toLowerCase()] : request.query[scheme.name]);
}

function answer(operation, request, response) {
  const code = Object.keys(operation.responses).find((it) => it.startsWith('2'));
  const content = operation.responses[code].content || {};
  const type = Object.keys(content).find((it) => /json/.test(it) || it === '*/*');
  if (!type || !request.accepts('json')) return response.status(type ? 406 : +code).end();
  const { schema, example, examples } = content[type];
  const chosen = schema && schema.oneOf ? schema.oneOf[0] : schema;
  const body = example || (examples && Object.values(examples)[0].value) || sampler.sample(chosen);
  return response.status(+code).type('json').send(JSON.stringify(body));
}

async function serve(file) {
  const read = only(yaml.load(fs.readFileSync(file, 'utf8')), new RegExp(process.env.PATHS || ''));
  read.servers = [{ url: '/' }];
  const document = await parser.dereference(read, { dereference: { circular: 'ignore' } });
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
  operations.forEach((it) => Object.values((it.requestBody || {}).content || {}).forEach((content) => close(content.schema)));
  const paths = Object.keys(document.paths).map((path) => [pattern(path), document.paths[path]]);
  const handlers = {};
  const schemes = (document.components || {}).securitySchemes || {};
  Object.keys(schemes).forEach((name) => { handlers[name] = (request) => presented(request, schemes[name]); });
  const app = express.Router();
  app.use(express.json(), express.urlencoded({ extended: false }));
  const strict = { allowUnknownQueryParameters: false };
  app.use(validator.middleware({ apiSpec: copy(document), validateRequests: strict, validateSecurity: { handlers }, validateFormats: false }));
  app.use((request, response) => answer(paths.find(([it]) => it.test(request.path))[1][request.method.toLowerCase()], request, response));
  return [(path) => paths.some(([it]) => it.test(path)), app];
}

(async () => {
  const served = await Promise.all(documents.map(serve));
  const app = express();
  app.use((request, response, next) => {
    const told = `${request.method} ${request.path}`;
    response.on('finish', () => console.log(response.refused ? `refused ${told}: ${response.refused}` : `taken ${told}`));
    const found = served.find(([has]) => has(request.path));
    if (found) return found[1](request, response, next);
    response.refused = 'no such path';
    return response.status(404).end();
  });
  app.use((error, request, response, next) => {
    if (response.headersSent) return next(error);
    response.refused = error.message;
    return response.status(error.status || 500).json({ refused: error.message });
  });
  const server = app.listen(+port, '127.0.0.1', () => console.log(server.address().port));
})();
