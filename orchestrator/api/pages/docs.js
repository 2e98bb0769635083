"use strict";

function element(name, text, tone) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (tone) made.className = tone;
  return made;
}

function table(headings, rows) {
  const made = document.createElement("table");
  const head = document.createElement("tr");
  head.append(...headings.map((text) => element("th", text)));
  made.append(head);
  for (const cells of rows) {
    const row = document.createElement("tr");
    row.append(...cells.map((text, index) => element("td", text, index === 0 ? "id" : "")));
    made.append(row);
  }
  return made;
}

function typeOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items)}`;
  if (schema.enum) return schema.enum.join(", ");
  return schema.format ?? schema.type ?? "";
}

function operation(method, path, described) {
  const made = document.createElement("details");
  const summary = element("summary");
  summary.append(element("code", `${method.toUpperCase()} ${path}`), ` ${described.summary}`);
  made.append(summary);
  if (described.parameters.length) {
    made.append(table(["parameter", "in", "meaning"], described.parameters.map((p) => [
      p.name + (p.required ? " *" : ""), p.in, p.description,
    ])));
  }
  const body = described.requestBody?.content["application/json"].schema;
  if (body) made.append(element("p", `Body: ${typeOf(body)}`));
  made.append(table(["status", "meaning", "body"], Object.entries(described.responses).map(([status, answer]) => [
    status, answer.description, Object.values(answer.content ?? {}).map((entry) => typeOf(entry.schema)).join(", "),
  ])));
  return made;
}

function model(name, schema) {
  const made = document.createElement("details");
  const summary = element("summary");
  summary.append(element("code", name), ` ${schema.description ?? ""}`);
  made.append(summary);
  if (schema.enum) made.append(element("p", schema.enum.join(", ")));
  if (schema.properties) {
    const required = schema.required ?? [];
    made.append(table(["field", "type", "meaning"], Object.entries(schema.properties).map(([field, value]) => [
      field + (required.includes(field) ? " *" : ""), typeOf(value), value.description ?? "",
    ])));
  }
  return made;
}

async function show() {
  const described = await (await fetch("/openapi.json")).json();
  const parts = [element("p", described.info.description), element("h2", "Operations")];
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, entry] of Object.entries(methods)) parts.push(operation(method, path, entry));
  }
  parts.push(element("h2", "Documents"));
  for (const [name, schema] of Object.entries(described.components.schemas)) parts.push(model(name, schema));
  document.getElementById("operations").replaceChildren(...parts);
}

show();
