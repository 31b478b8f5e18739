/** Why the service could not start; shown to the operator with the next step, without a stack. */
export class StartError extends Error {
  readonly next: string;
  constructor(message: string, next: string) {
    super(message);
    this.name = 'StartError';
    this.next = next;
  }
}
