import { type OperateOptions, withAdmins } from './operations.js';
import { print } from './output.js';
import { UserError } from './user-error.js';

/** Rebuilds a copy or a read model of a service from its events. @param model such as `users`, or `orders/users` where several services have one */
export function rebuild(model: string, options: OperateOptions): Promise<void> {
  return withAdmins(options, async (admins) => {
    const all = admins.flatMap((admin) => admin.models.map((name) => ({ admin, name })));
    const found = all.filter(({ admin, name }) => [name, `${admin.consumer}/${name}`].includes(model));
    const [chosen] = found;
    if (!chosen || found.length > 1) {
      const names = all.map(({ admin, name }) => {
        const isUnique = all.filter((each) => each.name === name).length === 1;
        return isUnique ? name : `${admin.consumer}/${name}`;
      });
      throw new UserError(`expected one model of ${names.join(', ')}; got "${model}"`);
    }
    const events = await chosen.admin.rebuild(chosen.name);
    print({ model, events }, { ...options, rows: [], empty: `Rebuilt ${model} from ${events} events.` });
  });
}
