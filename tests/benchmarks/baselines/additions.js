// Adds a member to many groups with the public client library, as its users do. Started in the folder that has
// node_modules, with a JSON document as its argument:
//   { url, chainId, privateKey, enclaveKey, newKey, groups: [...], together: true | false }
// Prints `ready`, begins when a line comes in, and prints one line of JSON: { seconds, added }.
const { createRequire } = require("module");

// The packages are found from the working directory, wherever this file is.
const load = createRequire(`${process.cwd()}/`);
const Web3 = load("web3");
const Web3Quorum = load("web3js-quorum");

const plan = JSON.parse(process.argv[2]);
const web3 = new Web3Quorum(new Web3(plan.url), plan.chainId);

const add = (privacyGroupId) =>
  web3.eth.flexiblePrivacyGroup.addTo({
    privacyGroupId,
    privateKey: plan.privateKey,
    enclaveKey: plan.enclaveKey,
    participants: [plan.newKey],
  });

const addAll = async () => {
  if (plan.together) return Promise.all(plan.groups.map(add));
  const receipts = [];
  for (const group of plan.groups) receipts.push(await add(group));
  return receipts;
};

process.stdin.once("data", async () => {
  const begun = process.hrtime.bigint();
  try {
    const receipts = await addAll();
    const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
    console.log(JSON.stringify({ seconds, added: receipts.filter((receipt) => receipt.status === "0x1").length }));
    process.exit(0);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
});
console.log("ready");
