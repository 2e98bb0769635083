// Asks for a change as a CloudEvent over HTTP with nothing but Node.js 18 or newer, and prints the change's id.
// Usage: node ask.js DAEMON KIND GROUP KEY...
const [daemon, kind, group, ...members] = process.argv.slice(2);

async function main() {
  const response = await fetch(`${daemon}/v1/changes`, {
    method: "POST",
    headers: { "Content-Type": "application/cloudevents+json" },
    body: JSON.stringify({
      specversion: "1.0",
      id: `ask-js-${kind}-${members.join("-")}`, // the same id is the same change, however often it is sent
      source: "/example",
      type: "membership.change.requested.v1",
      data: { kind, privacy_group_id: group, members },
    }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${answer.title}: ${answer.detail}`);
  console.log(answer.change_id);
}

main();
