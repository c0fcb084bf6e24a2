/** What Twilio's error codes mean, in plain words. */

/** @type {Record<number, string>} Source: Twilio's error dictionary as of 2026-11 */
const MEANINGS = {
  20003: "Twilio does not accept the credentials",
  20429: "too many requests at once",
  21211: "the number is not valid",
  21610: "the person has sent STOP",
  21617: "the text is longer than 1,600 characters",
  30008: "not delivered, for a reason that the carrier does not tell",
  63003: "nobody has WhatsApp at this address",
  63007: "the sender is not one of this account's",
  63013: "WhatsApp's policy does not allow it",
  63016: "the 24 hours after the person's last message are over: only a template may be sent",
  63018: "WhatsApp's limit of messages was reached",
  63024: "this person cannot get messages from this sender",
  63032: "WhatsApp limits how many people get marketing",
  63038: "the account's messages of the day are used up",
  63049: "WhatsApp chose not to deliver it",
  63051: "the sender's account is locked",
};

/**
 * @param {number | string | null} code
 * @param {string | null} [told] the provider's own words
 */
export function meaning(code, told = "") {
  return MEANINGS[Number(code)] ?? (told || "Twilio gives no reason");
}
