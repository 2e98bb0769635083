// What an application of the consortium does today, with the public client. Usage:
//   node consortium.js create  URL CHAIN_ID PRIVATE_KEY GROUP SENDER_KEY MEMBER_KEY...
//   node consortium.js write   URL CHAIN_ID PRIVATE_KEY GROUP SENDER_KEY COUNT
//   node consortium.js look    URL CHAIN_ID GROUP MEMBER_KEY...
// Prints one line of JSON.
const { createRequire } = require("module");

// The packages are found from the working directory, wherever this file is.
const load = createRequire(`${process.cwd()}/`);
const Web3 = load("web3");
const Web3Quorum = load("web3js-quorum");

const [what, url, chainId, ...rest] = process.argv.slice(2);
const web3 = new Web3Quorum(new Web3(url), Number(chainId));

const actions = {
  async create([privateKey, privacyGroupId, enclaveKey, ...members]) {
    const receipt = await web3.eth.flexiblePrivacyGroup.create({
      privateKey,
      privacyGroupId,
      enclaveKey,
      participants: [enclaveKey, ...members],
    });
    return { status: receipt.status, privacyGroupId };
  },
  async write([privateKey, privacyGroupId, enclaveKey, count]) {
    const statuses = [];
    for (let index = 0; index < Number(count); index += 1) {
      const hash = await web3.priv.generateAndSendRawTransaction({
        privateKey,
        privacyGroupId,
        privateFrom: enclaveKey,
        to: "0x00000000000000000000000000000000000000aa",
        data: `0x${index.toString(16).padStart(64, "0")}`,
      });
      const receipt = await web3.priv.waitForTransactionReceipt(hash, 100, 100);
      statuses.push(receipt.status);
    }
    return { statuses };
  },
  async look([privacyGroupId, ...members]) {
    const found = await web3.eth.flexiblePrivacyGroup.find(members);
    const participants = await web3.eth.flexiblePrivacyGroup.getParticipants({ privacyGroupId });
    return { found: found.map((group) => group.privacyGroupId), participants };
  },
};

actions[what](rest).then(
  (result) => console.log(JSON.stringify(result)),
  (error) => {
    console.error(error.message || error);
    process.exit(1);
  },
);
