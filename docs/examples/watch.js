// Follows status events as server-sent events with nothing but Node.js 18 or newer.
// Usage: node watch.js DAEMON TYPE; ends with the first event of the type.
const [daemon, wanted] = process.argv.slice(2);

async function main() {
  let lastId = "0";
  for (;;) {
    const response = await fetch(`${daemon}/v1/events`, { headers: { "Last-Event-ID": lastId } });
    let text = "";
    for await (const part of response.body.pipeThrough(new TextDecoderStream())) {
      text += part.replaceAll("\r", "");
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        const fields = Object.fromEntries(text.slice(0, end).split("\n").map((line) => line.split(/: (.*)/s)));
        if (!fields.data) continue;
        lastId = fields.id ?? lastId;
        const event = JSON.parse(fields.data);
        console.log(event.type, event.subject);
        if (event.type === wanted) process.exit(0);
      }
    }
  }
}

main();
