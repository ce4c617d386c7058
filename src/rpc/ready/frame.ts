import { promisify } from "node:util";
import zlib from "node:zlib";

/** The length of what gRPC puts before a message: a flag for compression, and the message's length. */
export const FRAME_PREFIX_BYTES = 5;

/**
 * Answers below this size, in bytes, are not compressed. Most hold little but keys and signatures, which do not get
 * smaller.
 */
export const COMPRESS_MIN_BYTES = 4096;

/** Puts an encoded message into an uncompressed gRPC frame, in memory of its own. */
export function frameOf(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(FRAME_PREFIX_BYTES + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, FRAME_PREFIX_BYTES);
  return frame;
}

/** The message in a frame, in the same memory. */
export function messageOf(frame: Uint8Array): Uint8Array {
  return frame.subarray(FRAME_PREFIX_BYTES);
}

/** True if these bytes are one uncompressed frame. */
export function isOneFrame(bytes: Buffer): boolean {
  if (bytes.length < FRAME_PREFIX_BYTES || bytes[0] !== 0) return false;
  return bytes.readUInt32BE(1) === bytes.length - FRAME_PREFIX_BYTES;
}

/** True if the frame is {@link compressed} for a caller who accepts that. */
export function isWorthCompressing(frame: Uint8Array): boolean {
  return frame.length - FRAME_PREFIX_BYTES >= COMPRESS_MIN_BYTES;
}

/** True if the frame's message is compressed. */
export function isCompressed(frame: Uint8Array): boolean {
  return frame[0] === 1;
}

const gzip = promisify(zlib.gzip);
const compressedFrames = new WeakMap<Uint8Array, Promise<Uint8Array>>();

/** A frame with its message compressed; made once for a frame that goes to many streams. */
export function compressed(frame: Uint8Array): Promise<Uint8Array> {
  let made = compressedFrames.get(frame);
  if (made === undefined) {
    made = gzip(messageOf(frame)).then((message) => {
      const smaller = frameOf(message);
      smaller[0] = 1;
      return smaller;
    });
    compressedFrames.set(frame, made);
  }
  return made;
}
