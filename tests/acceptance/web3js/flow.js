// Creates a flexible privacy group with the public client, finds it, adds the third node, reads the members on that
// node, removes it again. Arguments: the three nodes' HTTP addresses. Writes one JSON object as its last line; exit code 1
// on any error, with the node's message in it.
const Web3 = require("web3");
const Web3Quorum = require("web3js-quorum");
const { enclave, network } = require("web3js-quorum/example/keys.js");

const urls = process.argv.slice(2);
const nodes = urls.map((url) => new Web3Quorum(new Web3(url)));
const keys = [enclave.node1.publicKey, enclave.node2.publicKey, enclave.node3.publicKey];

async function main() {
  const [node1, node2, node3] = nodes;
  const sender = { enclaveKey: keys[0], privateFrom: keys[0], privateKey: network.node1.privateKey };
  const created = await node1.eth.flexiblePrivacyGroup.create({ ...sender, participants: keys.slice(0, 2) });
  const privacyGroupId = created.privacyGroupId;
  const found = await node2.eth.flexiblePrivacyGroup.find(keys.slice(0, 2));
  const added = await node1.eth.flexiblePrivacyGroup.addTo({ ...sender, privacyGroupId, participants: [keys[2]] });
  await node3.priv.waitForTransactionReceipt(added.commitmentHash);
  const members = await node3.eth.flexiblePrivacyGroup.getParticipants({ privacyGroupId });
  const foundByThird = await node3.eth.flexiblePrivacyGroup.find(keys);
  const removed = await node1.eth.flexiblePrivacyGroup.removeFrom({ ...sender, privacyGroupId, participant: keys[2] });
  const remaining = await node2.eth.flexiblePrivacyGroup.getParticipants({ privacyGroupId });
  return {
    statuses: [created.status, added.status, removed.status],
    found: found.map((group) => group.privacyGroupId === privacyGroupId),
    foundByThird: foundByThird.map((group) => group.members),
    members,
    remaining,
  };
}

main().then(
  (result) => process.stdout.write(`\n${JSON.stringify(result)}\n`),
  (error) => {
    process.stdout.write(`\n${JSON.stringify({ error: error.message })}\n`);
    process.exitCode = 1;
  }
);
