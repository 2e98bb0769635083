// Changes many groups with the public client library, as its users do. Started in the folder that has node_modules,
// with a file name as its argument; the file holds
//   { url, chainId, privateKey, enclaveKey, rounds: [[{ privacyGroupId, joining: [...], leaving: [...] }, ...], ...] }
// Each round's changes are made all at once. Prints one line of JSON: { done, failed }.
const { createRequire } = require("module");
const { readFileSync } = require("fs");

// The packages are found from the working directory, wherever this file is.
const load = createRequire(`${process.cwd()}/`);
const Web3 = load("web3");
const Web3Quorum = load("web3js-quorum");

const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
const web3 = new Web3Quorum(new Web3(plan.url), plan.chainId);
const owner = { privateKey: plan.privateKey, enclaveKey: plan.enclaveKey };
const groups = web3.eth.flexiblePrivacyGroup;

const check = (receipt) => {
  if (receipt.status !== "0x1") throw new Error(`receipt ${receipt.status}`);
};

const change = async ({ privacyGroupId, joining, leaving }) => {
  for (const participant of leaving) check(await groups.removeFrom({ ...owner, privacyGroupId, participant }));
  if (joining.length > 0) check(await groups.addTo({ ...owner, privacyGroupId, participants: joining }));
};

(async () => {
  const ends = { done: 0, failed: 0 };
  for (const round of plan.rounds) {
    const settled = await Promise.allSettled(round.map(change));
    for (const { status } of settled) ends[status === "fulfilled" ? "done" : "failed"] += 1;
  }
  console.log(JSON.stringify(ends));
  process.exit(0);
})();
