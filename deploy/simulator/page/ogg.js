/** Voice notes in the form in which WhatsApp carries them: Opus in Ogg. Chromium records Opus too, but in WebM. */

/**
 * The same sound in Ogg, nothing encoded anew. What is not WebM is returned as it is.
 *
 * @param {Blob} recorded
 * @returns {Promise<Blob>}
 */
export async function asVoiceNote(recorded) {
  if (!recorded.type.startsWith("audio/webm")) return recorded;
  const media = await import("./vendor/mediabunny.js"); // large, and needed here only
  const input = new media.Input({ source: new media.BlobSource(recorded), formats: [media.WEBM] });
  const track = await input.getPrimaryAudioTrack();
  if (!track) throw new Error("the recording holds no sound");
  const decoderConfig = await track.getDecoderConfig();
  const output = new media.Output({ format: new media.OggOutputFormat(), target: new media.BufferTarget() });
  const sound = new media.EncodedAudioPacketSource("opus");
  output.addAudioTrack(sound);
  await output.start();
  for await (const packet of new media.EncodedPacketSink(track).packets()) await sound.add(packet, { decoderConfig });
  await output.finalize();
  return new Blob([output.target.buffer], { type: "audio/ogg; codecs=opus" });
}
